"""The entropy decoder: one rANS stream that every column shares, each with its own tables.

The state is below 2^63 and refilled by 32-bit words, so plain signed arithmetic suffices.  Source:
J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540); the table form is the common "rANS".
Errors are sticky: the first one stays in the cursor, decoding goes on with harmless zeros, and
whoever drives checks it at the end of each message, so no input can lead astray.
"""

from typing import Final

from entresol.kernel.codec import format as codec
from entresol.kernel.layout import BATCH_DATA_BASE
from entresol.kernel.rejections import Invalid
from entresol.kernel.subset import (
    i64,
    kernel_function,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    record_at,
    shift_right,
    store_i64,
    unsigned_less,
)

cursor_at = record_at(codec.CURSOR)

_BAD_ENCODING: Final = int(Invalid.BAD_ENCODING)
_STATE: Final = codec.CURSOR_BASE + codec.CURSOR.fields["state"][1]  # type: ignore[index]
_MASK: Final = codec.TABLE.fields["mask"][1]  # type: ignore[index]
_LOG: Final = codec.TABLE.fields["log"][1]  # type: ignore[index]
_PACKED: Final = codec.SYMBOL.fields["packed"][1]  # type: ignore[index]
_PLACE: Final = codec.TABLE_ENTRIES + codec.ENTRY.fields["place"][1]  # type: ignore[index]
_FREQUENCY: Final = codec.TABLE_ENTRIES + codec.ENTRY.fields["frequency"][1]  # type: ignore[index]
_SYMBOL: Final = codec.TABLE_ENTRIES + codec.ENTRY.fields["symbol"][1]  # type: ignore[index]


@kernel_function
def fail(memory: int, code: int) -> None:
    """Keep the first error of the batch."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    if i64(cursor.error) == 0:
        cursor.error = code


@kernel_function
def reject_encoding(memory: int) -> None:
    """Keep Invalid.BAD_ENCODING if no error came before."""
    fail(memory, _BAD_ENCODING)


@kernel_function
def read_byte(memory: int) -> int:
    """Next byte of the batch; 0 and an error behind its end."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    position = i64(cursor.position)
    if position >= i64(cursor.words_end):
        reject_encoding(memory)
        return i64(0)
    cursor.position = position + 1
    return load_u8(memory + BATCH_DATA_BASE + position)


@kernel_function
def read_varint(memory: int) -> int:
    """Next integer in groups of seven bits, least first; at most 63 bits, no padding group."""
    value = i64(0)
    for group in range(9):
        byte = read_byte(memory)
        value |= (byte & 127) << (7 * group)
        if byte < 128:
            if byte == 0 and group > 0:
                reject_encoding(memory)
            return value
    reject_encoding(memory)
    return i64(0)


@kernel_function
def refill(memory: int, state: int) -> int:
    """The state with the next 32-bit word shifted in; zero bits and an error behind the end."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    position = i64(cursor.position)
    if position >= i64(cursor.words_end):
        reject_encoding(memory)
        return (state << 32) | codec.STATE_LOW
    cursor.position = position + 4
    return (state << 32) | load_u32(memory + BATCH_DATA_BASE + position)


@kernel_function
def read_bits(memory: int, count: int) -> int:
    """`count` equally likely bits, 1 to 31 of them."""
    state = load_i64(memory + _STATE)
    value = state & ((i64(1) << count) - 1)
    state = state >> count
    if shift_right(state, 31) == 0:
        state = refill(memory, state)
    store_i64(memory + _STATE, state)
    return value


@kernel_function
def read_word(memory: int) -> int:
    """64 equally likely bits, the low ones first."""
    low = read_bits(memory, 22)
    middle = read_bits(memory, 21)
    return low | (middle << 22) | (read_bits(memory, 21) << 43)


@kernel_function
def _read_extra(memory: int, count: int) -> int:
    """`count` bits, 1 to 61 of them, the low ones first."""
    if count <= 31:
        return read_bits(memory, count)
    low = read_bits(memory, 31)
    return low | (read_bits(memory, count - 31) << 31)


@kernel_function
def _add_extra(memory: int, table: int, base: int, packed: int) -> int:
    """A bucket's value: its base and extra bits; a value that has its own symbol is an error."""
    if packed == codec.INVALID_SYMBOL:
        reject_encoding(memory)
        return i64(0)
    value = base + _read_extra(memory, packed & 63)
    end = packed >> 24
    if end != 0:
        symbols = table + codec.TABLE_SYMBOLS
        for index in range((packed >> 8) & 0xFFFF, end):
            if load_i64(symbols + codec.SYMBOL_BYTES * index) == value:
                reject_encoding(memory)
    return value


@kernel_function
def decode_value(memory: int, context: int) -> int:
    """Next value of a context, as an unsigned 64-bit pattern."""
    table = memory + load_i64(memory + codec.CONTEXT_TABLES_BASE + 8 * context)
    state = load_i64(memory + _STATE)
    slot = state & load_i64(table + _MASK)
    entry = table + codec.ENTRY_BYTES * slot
    state = load_u16(entry + _FREQUENCY) * (state >> load_i64(table + _LOG))
    state += load_u16(entry + _PLACE)
    if shift_right(state, 31) == 0:
        state = refill(memory, state)
    store_i64(memory + _STATE, state)
    symbol = table + load_u32(entry + _SYMBOL)
    base = load_i64(symbol)
    packed = load_i64(symbol + _PACKED)
    if packed != 0:
        return _add_extra(memory, table, base, packed)
    return base


@kernel_function
def decode_limited(memory: int, context: int, limit: int) -> int:
    """Next value of a context, at most `limit`; 0 and an error when it is larger."""
    value = decode_value(memory, context)
    if unsigned_less(limit, value):
        reject_encoding(memory)
        return i64(0)
    return value


@kernel_function
def unfold(value: int) -> int:
    """The signed integer folded as 0, -1, 1, -2, 2, ... into an unsigned one."""
    return shift_right(value, 1) ^ -(value & 1)


@kernel_function
def fold(value: int) -> int:
    """Inverse of unfold: small magnitudes of either sign become small unsigned integers."""
    return (value << 1) ^ (value >> 63)
