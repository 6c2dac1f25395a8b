"""EIP-712 digests of what people sign, and who signed them.

A session key signs `LaneTip(bytes32 tip)`; an owner signs one human-readable struct per owner
operation (types in crypto/eip712.py).  Digest = keccak256(0x1901 || domain || struct hash).
The zero address never authenticates.
"""

from typing import Final

from entresol.crypto import eip712
from entresol.kernel import layout
from entresol.kernel.subset import (
    ecrecover,
    i64,
    keccak256,
    kernel_function,
    load_u8,
    load_u16,
    store_i64,
    store_u8,
    store_u16,
)
from entresol.kernel.views import (
    DOMAIN_ADDRESS,
    field_address,
    message_header_at,
    owner_operation_at,
)
from entresol.kernel.words import (
    OPERAND,
    RESULT,
    address_is_zero,
    addresses_equal,
    copy_words,
    store_address_word,
    store_integer_word,
)


def _type_words(name: str) -> tuple[int, int, int, int]:
    """The type hash as four little-endian words, constants to compiled code."""
    digest = eip712.type_hash(name)
    first, second, third, fourth = (
        int.from_bytes(digest[start : start + 8], "little", signed=True)
        for start in range(0, 32, 8)
    )
    return first, second, third, fourth


_LANE_TIP: Final = _type_words("LaneTip")
_WITHDRAW: Final = _type_words("Withdraw")
_REGISTER_LANE: Final = _type_words("RegisterLane")
_REVOKE_LANE: Final = _type_words("RevokeLane")
_TRANSFER: Final = _type_words("Transfer")
_LIST_INSTRUMENT: Final = _type_words("ListInstrument")

_MESSAGE_HEADER_BYTES: Final = layout.MESSAGE_HEADER.itemsize
_ADDRESS: Final = field_address(0, layout.OWNER_OPERATION, "address")
_SIGNATURE: Final = field_address(0, layout.OWNER_OPERATION, "signature_r")
_DIGEST: Final = RESULT
_R: Final = RESULT + 32
_S: Final = RESULT + 64
_SIGNER: Final = RESULT + 96


@kernel_function
def _store_type(out: int, words: tuple[int, int, int, int]) -> None:
    store_i64(out, words[0])
    store_i64(out + 8, words[1])
    store_i64(out + 16, words[2])
    store_i64(out + 24, words[3])


@kernel_function
def _finish_digest(memory: int, length: int) -> None:
    """Turn the struct of `length` bytes in OPERAND into the digest that was signed."""
    operand = memory + OPERAND
    struct_hash = memory + RESULT
    keccak256(operand, length, struct_hash)
    store_u8(operand, 0x19)
    store_u8(operand + 1, 0x01)
    for index in range(16):
        store_u16(operand + 2 + 2 * index, load_u16(memory + DOMAIN_ADDRESS + 2 * index))
        store_u16(operand + 34 + 2 * index, load_u16(struct_hash + 2 * index))
    keccak256(operand, 66, memory + _DIGEST)


@kernel_function
def _recover(memory: int, signature: int) -> int:
    """Native address of the 20 raw bytes of who signed the digest, zero when nobody did.

    `signature` is the native address of 64 bytes (any alignment): r, then s with v - 27 on top.
    """
    for index in range(32):
        store_u8(memory + _R + index, load_u8(signature + index))
        store_u8(memory + _S + index, load_u8(signature + 32 + index))
    top = load_u8(memory + _S)
    store_u8(memory + _S, top & 0x7F)
    ecrecover(memory + _DIGEST, (top >> 7) + 27, memory + _R, memory + _S, memory + _SIGNER)
    return memory + _SIGNER + 12


@kernel_function
def lane_tip_is_signed(memory: int, tip: int, key: int, signature: int) -> bool:
    """True when `signature` over LaneTip(tip) is by `key`; native addresses all."""
    operand = memory + OPERAND
    _store_type(operand, _LANE_TIP)
    copy_words(operand + 32, tip, 4)
    _finish_digest(memory, 64)
    signer = _recover(memory, signature)
    return addresses_equal(signer, key) and not address_is_zero(signer)


@kernel_function
def _store_listing(operand: int, address: int) -> int:
    """Words 2 to 13 of ListInstrument; returns how many words there are so far."""
    operation = owner_operation_at(address)
    store_integer_word(operand + 64, i64(operation.instrument_kind))
    store_integer_word(operand + 96, i64(operation.underlying))
    store_integer_word(operand + 128, i64(operation.symbol))
    store_integer_word(operand + 160, i64(operation.strike))
    store_integer_word(operand + 192, i64(operation.expires_ms))
    store_integer_word(operand + 224, i64(operation.tick_size))
    store_integer_word(operand + 256, i64(operation.contract_size))
    store_integer_word(operand + 288, i64(operation.base_tick))
    store_integer_word(operand + 320, i64(operation.margin_class))
    store_integer_word(operand + 352, i64(operation.minimum_lots))
    store_integer_word(operand + 384, i64(operation.maximum_lots))
    store_integer_word(operand + 416, i64(operation.maximum_age_ms))
    return i64(14)


@kernel_function
def _store_fields(operand: int, address: int) -> int:
    """Type hash and the words after `account` for an owner operation; the words so far."""
    operation = owner_operation_at(address)
    kind = i64(operation.kind)
    if kind == layout.WITHDRAW:
        _store_type(operand, _WITHDRAW)
        store_address_word(operand + 64, address + _ADDRESS)
        store_integer_word(operand + 96, i64(operation.amount))
        return i64(4)
    if kind == layout.REGISTER_LANE:
        _store_type(operand, _REGISTER_LANE)
        store_address_word(operand + 64, address + _ADDRESS)
        store_integer_word(operand + 96, i64(operation.expires_ms))
        store_integer_word(operand + 128, i64(operation.permissions))
        return i64(5)
    if kind == layout.REVOKE_LANE:
        _store_type(operand, _REVOKE_LANE)
        store_integer_word(operand + 64, i64(operation.lane))
        return i64(3)
    if kind == layout.OWNER_TRANSFER:
        _store_type(operand, _TRANSFER)
        store_integer_word(operand + 64, i64(operation.account))
        store_integer_word(operand + 96, i64(operation.amount))
        return i64(4)
    _store_type(operand, _LIST_INSTRUMENT)
    return _store_listing(operand, address)


@kernel_function
def owner_message_is_signed(memory: int, message: int, owner: int) -> bool:
    """True when the owner operation in the message at native address `message` is by `owner`.

    The message is framed and of a known owner kind; `owner` is a native address of 20 bytes.
    """
    header = message_header_at(message)
    address = message + _MESSAGE_HEADER_BYTES
    operand = memory + OPERAND
    words = _store_fields(operand, address)
    store_integer_word(operand + 32, i64(header.target))
    store_integer_word(operand + 32 * words, i64(header.sequence))
    store_integer_word(operand + 32 * words + 32, i64(header.valid_until_ms))
    _finish_digest(memory, 32 * words + 64)
    signer = _recover(memory, address + _SIGNATURE)
    return addresses_equal(signer, owner) and not address_is_zero(signer)
