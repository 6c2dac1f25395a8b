"""The two symbols that kernel code calls by name, bound to native code of this process.

In the RISC-V image the same names are ecall stubs; on L1 they are the KECCAK256 opcode and the
ecrecover precompile.  All arguments are int64: native addresses, except `length` and `v`.

    void entresol_keccak256(pointer, length, out)       32 bytes at out
    void entresol_ecrecover(digest, v, r, s, out)       32 bytes at out: the address in the last
                                                        20, or all zero (v 27/28, low s only)

`out` may overlap the operands, as in the machine, which reads before it writes.  Neither needs the
interpreter lock; both may run in any thread.
"""

import ctypes

from llvmlite import binding

from entresol.crypto import secp256k1
from entresol.crypto.compile_cache import INTERPRETED
from entresol.crypto.keccak import NATIVE_ADDRESS, keccak256

KECCAK256_SYMBOL = "entresol_keccak256"
ECRECOVER_SYMBOL = "entresol_ecrecover"

_bound: dict[str, int] = {}


def install() -> dict[str, int]:
    """Bind the symbols for code that is compiled or loaded later; returns symbol -> address.

    Calling it again changes nothing.  When nothing is compiled (NUMBA_DISABLE_JIT) it binds
    nothing: the twins below serve.
    """
    if INTERPRETED or _bound:
        return dict(_bound)
    for name, address in secp256k1.library_symbols().items():
        binding.add_symbol(name, address)
    symbols = {KECCAK256_SYMBOL: NATIVE_ADDRESS, ECRECOVER_SYMBOL: secp256k1.bind_native()}
    for name, address in symbols.items():
        binding.add_symbol(name, address)
    _bound.update(symbols)
    return dict(_bound)


def keccak256_twin(pointer: int, length: int, out: int) -> None:
    """`entresol_keccak256` in Python."""
    ctypes.memmove(int(out), keccak256(ctypes.string_at(int(pointer), int(length))), 32)


def ecrecover_twin(digest: int, v: int, r: int, s: int, out: int) -> None:
    """`entresol_ecrecover` in Python."""
    message, r_bytes, s_bytes = (ctypes.string_at(int(at), 32) for at in (digest, r, s))
    address = None
    if v in (27, 28):
        signature = r_bytes + s_bytes + bytes([int(v)])
        address = secp256k1.recover_address(message, signature)
    word = bytes(12) + (address or secp256k1.NO_ADDRESS)
    ctypes.memmove(int(out), word, 32)
