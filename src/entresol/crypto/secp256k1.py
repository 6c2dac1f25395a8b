"""ECDSA over secp256k1 as Ethereum uses it: sign, recover, addresses.

Only low-s signatures (EIP-2) with v 27 or 28 exist here.  `recover_native` does on native
addresses exactly what the EVM precompile does, less the high-s half, by calling libsecp256k1's
functions without the interpreter; `recover_plain` is the same on Python integers.
"""

from typing import Final

import coincurve
import numpy as np
from coincurve._libsecp256k1 import ffi, lib
from numba import types

from entresol.crypto import native_memory
from entresol.crypto.compile_cache import INTERPRETED, native_callback, native_function
from entresol.crypto.keccak import keccak256, keccak256_native

FIELD: Final = 2**256 - 2**32 - 977
ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
HALF_ORDER: Final = ORDER // 2
"""The largest s that is accepted."""

GENERATOR: Final = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)

NO_ADDRESS: Final = bytes(20)
"""What an invalid signature recovers to on the EVM; it never authenticates anything."""


class InvalidSecretError(ValueError):
    """A secret key that is not 32 bytes in [1, ORDER)."""


# --- signing and recovering on bytes ----------------------------------------------------------


def address_of(secret: bytes) -> bytes:
    """The 20-byte address of a 32-byte secret key; raises InvalidSecretError."""
    return address_of_public_key(_private_key(secret).public_key.format(compressed=False))


def address_of_public_key(public_key: bytes) -> bytes:
    """The address of an uncompressed public key (65 bytes, 0x04 first)."""
    if len(public_key) != 65 or public_key[0] != 4:
        raise ValueError("Give the public key uncompressed: 65 bytes, the first of them 0x04.")
    return keccak256(public_key[1:])[12:]


def sign_digest(secret: bytes, digest: bytes) -> bytes:
    """Deterministic (RFC 6979) low-s signature: r (32) || s (32) || v (1, 27 or 28)."""
    if len(digest) != 32:
        raise ValueError(f"A digest has 32 bytes, not {len(digest)}.")
    signature = _private_key(secret).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def compact_signature(signature: bytes) -> bytes:
    """EIP-2098: r || (s with its top bit set when v is 28), 64 bytes, of a 65-byte signature."""
    if len(signature) != 65 or signature[64] not in (27, 28) or signature[32] >> 7:
        raise ValueError("Only a 65-byte low-s signature with v 27 or 28 has a compact form.")
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


def expand_signature(signature: bytes) -> tuple[int, bytes, bytes] | None:
    """(v, r, s) of a 65-byte r||s||v or a 64-byte EIP-2098 signature; None for other lengths."""
    if len(signature) == 65:
        return signature[64], signature[:32], signature[32:64]
    if len(signature) == 64:
        s = bytes([signature[32] & 0x7F]) + signature[33:]
        return 27 + (signature[32] >> 7), signature[:32], s
    return None


def recover_address(digest: bytes, signature: bytes) -> bytes | None:
    """The signer's 20-byte address, or None when the signature is not valid.

    `signature` is r||s||v (65 bytes, v 27 or 28) or EIP-2098 (64 bytes); low s only.
    """
    parts = expand_signature(signature)
    if parts is None or len(digest) != 32:
        return None
    v, r, s = parts
    if v not in (27, 28) or not _in_range(r, s):
        return None
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            r + s + bytes([v - 27]), digest, hasher=None
        )
    except Exception:  # coincurve raises bare Exception when no point has this x
        return None
    return address_of_public_key(key.format(compressed=False))


def _in_range(r: bytes, s: bytes) -> bool:
    return 0 < int.from_bytes(r, "big") < ORDER and 0 < int.from_bytes(s, "big") <= HALF_ORDER


def _private_key(secret: bytes) -> coincurve.PrivateKey:
    if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
        raise InvalidSecretError("A secret key is 32 bytes and lies in [1, group order).")
    return coincurve.PrivateKey(secret)


# --- a plain twin -----------------------------------------------------------------------------

Point = tuple[int, int] | None
"""Affine point; None is the point at infinity."""


def _add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % FIELD == 0:
        return None
    if left == right:
        slope = 3 * x1 * x1 * pow(2 * y1, -1, FIELD)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, FIELD)
    x = (slope * slope - x1 - x2) % FIELD
    return x, (slope * (x1 - x) - y1) % FIELD


def _multiply(scalar: int, point: Point) -> Point:
    total: Point = None
    for bit in f"{scalar:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def recover_plain(digest: bytes, v: int, r: int, s: int) -> bytes:
    """The signer's address by SEC 1, section 4.1.6, in plain Python; NO_ADDRESS if invalid."""
    if v not in (27, 28) or not 0 < r < ORDER or not 0 < s <= HALF_ORDER:
        return NO_ADDRESS
    square = (r * r * r + 7) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    if y * y % FIELD != square:
        return NO_ADDRESS
    if y % 2 != v - 27:
        y = FIELD - y
    inverse = pow(r, -1, ORDER)
    message = int.from_bytes(digest, "big")
    key = _add(
        _multiply(-message * inverse % ORDER, GENERATOR), _multiply(s * inverse % ORDER, (r, y))
    )
    if key is None:
        return NO_ADDRESS
    return keccak256(key[0].to_bytes(32, "big") + key[1].to_bytes(32, "big"))[12:]


# --- recovery without the interpreter ---------------------------------------------------------

_LIBRARY_PREFIX: Final = "entresol_lib"
_CONTEXT_SYMBOL: Final = "entresol_libsecp256k1_context"


def library_symbols() -> dict[str, int]:
    """Symbol -> address of what `recover_native` calls in the loaded libsecp256k1."""
    names = (
        "secp256k1_ecdsa_recoverable_signature_parse_compact",
        "secp256k1_ecdsa_recover",
        "secp256k1_ec_pubkey_serialize",
    )
    symbols = {
        _LIBRARY_PREFIX + name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        for name in names
    }
    # The static context serves parsing and recovery, is never written, and lives for ever.
    symbols[_CONTEXT_SYMBOL] = int(ffi.cast("uintptr_t", lib.secp256k1_context_static))
    return symbols


_address = types.int64
_parse = types.ExternalFunction(
    _LIBRARY_PREFIX + "secp256k1_ecdsa_recoverable_signature_parse_compact",
    types.int32(_address, _address, _address, types.int32),
)
_recover = types.ExternalFunction(
    _LIBRARY_PREFIX + "secp256k1_ecdsa_recover",
    types.int32(_address, _address, _address, _address),
)
_serialize = types.ExternalFunction(
    _LIBRARY_PREFIX + "secp256k1_ec_pubkey_serialize",
    types.int32(_address, _address, _address, _address, types.uint32),
)
_context = native_memory.symbol_address(_CONTEXT_SYMBOL)
_work_space = native_memory.stack_space(384)

_UNCOMPRESSED: Final = int(lib.SECP256K1_EC_UNCOMPRESSED)
_HALF_ORDER_BYTES: Final = np.frombuffer(HALF_ORDER.to_bytes(32, "big"), np.uint8)


@native_function
def _is_low(s: int) -> bool:
    """Is the big-endian 32-byte number at `s` at most HALF_ORDER?"""
    for at in range(32):
        byte = native_memory.load_u8(s + at)
        limit = types.uint64(_HALF_ORDER_BYTES[at])
        if byte != limit:
            return byte < limit
    return True


@native_function
def recover_native(digest: int, v: int, r: int, s: int, out: int) -> None:
    """The EVM's ecrecover on native addresses, low s only; see native_symbols.

    `digest`, `r`, `s` point to 32 bytes, `out` to 32 that receive the address as a word, or zero;
    `out` may overlap the operands.
    """
    space = _work_space()
    message, compact, signature = space, space + 32, space + 96
    key, length, public = space + 192, space + 256, space + 272
    for at in range(0, 32, 8):
        native_memory.store_u64(message + at, native_memory.load_u64(digest + at))
        native_memory.store_u64(compact + at, native_memory.load_u64(r + at))
        native_memory.store_u64(compact + 32 + at, native_memory.load_u64(s + at))
    for at in range(0, 32, 8):
        native_memory.store_u64(out + at, types.uint64(0))
    if v not in (27, 28) or not _is_low(compact + 32):
        return
    # Parsing refuses r or s >= ORDER, recovering refuses zero and an r that is no point's x.
    if _parse(_context(), signature, compact, types.int32(v - 27)) != 1:
        return
    if _recover(_context(), key, signature, message) != 1:
        return
    native_memory.store_u64(length, types.uint64(65))
    _serialize(_context(), public, length, key, types.uint32(_UNCOMPRESSED))
    keccak256_native(public + 1, 64, out)
    native_memory.store_u64(out, types.uint64(0))
    for at in range(8, 12):
        native_memory.store_u8(out + at, types.uint64(0))


def bind_native() -> int:
    """Address of the C function `void (digest, v, r, s, out)` of five int64; 0 if interpreted.

    `library_symbols()` must be bound before the first call.
    """
    if INTERPRETED:
        return 0
    argument = types.int64

    @native_callback(types.void(argument, argument, argument, argument, argument))
    def entresol_ecrecover(digest: int, v: int, r: int, s: int, out: int) -> None:
        recover_native(digest, v, r, s, out)

    return entresol_ecrecover.address
