"""Numbers of the batch format and the decoder's scratch records, shared with the encoder.

A batch is: a fixed header of 8 bytes, the lane signatures (64 bytes each), the tables, zero bytes
up to a multiple of four, the initial state of the entropy decoder (8 bytes), and its 32-bit words.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.layout import _record

CODEC_VERSION: Final = 1

# --- the fixed header ------------------------------------------------------------------------

HEADER_BYTES: Final = 8
"""version u8, value exponent u8, block count u16, signature count u32; little-endian."""

SIGNATURE_BYTES: Final = 64

MAX_VALUE_EXPONENT: Final = 9
"""Oracle prices are coded in units of 10 to this power or less."""

# --- entropy coding --------------------------------------------------------------------------

STATE_LOW: Final = 1 << 31
"""The state stays in [2^31, 2^63); a decoder ends at exactly 2^31, where the encoder began."""

MAX_TABLE_LOG: Final = 12
MAX_SYMBOLS: Final = 256
BUCKETS: Final = 252
"""Values below 4 have a bucket each, then every power of two is split in four: 64 bits in all."""

INVALID_SYMBOL: Final = 64
"""`packed` of a symbol that is an error wherever it appears."""

BUCKET_BITS: Final = 8
"""The uniform table: 2^8 equally likely buckets, the last four of them invalid."""

MAX_TABLES: Final = 96

# --- columns and their contexts --------------------------------------------------------------

KIND_CLASSES: Final = 11
"""Operation kinds 0 to 9, and one class for every other."""

COLUMNS: Final = (
    ("block_time", 1),
    ("inbox_count", 1),
    ("message_count", 1),
    ("form", 1),
    ("lane", 1),
    ("valid_until", 1),
    ("record_count", 1),
    ("shape_first", KIND_CLASSES),
    ("shape_next", 2 * KIND_CLASSES),
    ("slot", 3),
    ("instrument", 2),
    ("price", 4),
    ("quantity", 3),
    ("value", 3),
    ("account", 1),
    ("count", 1),
    ("label", 1),
    ("owner", 2),
)
"""Name and number of contexts of every column, in the order of the tables section."""


def _first_context(name: str) -> int:
    position = 0
    for column, contexts in COLUMNS:
        if column == name:
            return position
        position += contexts
    raise KeyError(name)


BLOCK_TIME: Final = _first_context("block_time")
INBOX_COUNT: Final = _first_context("inbox_count")
MESSAGE_COUNT: Final = _first_context("message_count")
FORM: Final = _first_context("form")
LANE: Final = _first_context("lane")
VALID_UNTIL: Final = _first_context("valid_until")
RECORD_COUNT: Final = _first_context("record_count")
SHAPE_FIRST: Final = _first_context("shape_first")
SHAPE_NEXT: Final = _first_context("shape_next")
SLOT: Final = _first_context("slot")
INSTRUMENT: Final = _first_context("instrument")
PRICE: Final = _first_context("price")
QUANTITY: Final = _first_context("quantity")
VALUE: Final = _first_context("value")
ACCOUNT: Final = _first_context("account")
COUNT: Final = _first_context("count")
LABEL: Final = _first_context("label")
OWNER: Final = _first_context("owner")
CONTEXTS: Final = sum(contexts for _, contexts in COLUMNS)

# --- values with a meaning of their own ------------------------------------------------------

FORM_VALID_UNTIL: Final = 1
"""Form column, bit: valid-until is coded, else it lies as far ahead as the lane's last one."""
FORM_COUNT: Final = 2
"""Form column, bit: the record count is coded, else it is the lane's last one."""
FORM_NEW_LANE: Final = 4
"""Form column, bit: a lane not named before, as LANE_BITS raw bits, else its place is coded."""
FORM_SEQUENCE: Final = 8
"""Form column, bit: the sequence number is not the expected one and follows as 64 raw bits."""
FORM_OWNER: Final = 16
"""Form column, the largest value: an owner message."""

LANE_BITS: Final = 15
ACCOUNT_BITS: Final = 14
VALID_UNIT_MS: Final = 1000
VALID_FRACTION_BITS: Final = 10
OWNER_WORDS: Final = 24
"""An owner operation as 8-byte words; a mask says which are not zero."""

MAX_TIME_MS: Final = 1 << 60
MAX_VALID_UNITS: Final = 1 << 40

# --- shapes ----------------------------------------------------------------------------------

SHAPE_BITS: Final = 25
SHAPE_KIND_SHIFT: Final = 17
SHAPE_FLAGS_SHIFT: Final = 9
"""shape = kind << 17 | (flags XOR predicted side) << 9 | which fields are coded."""

CODED_SLOT: Final = 1
CODED_INSTRUMENT: Final = 2
CODED_PRICE: Final = 4
CODED_QUANTITY: Final = 8
CODED_VALUE: Final = 16
CODED_ACCOUNT: Final = 32
CODED_COUNT: Final = 64
CODED_LABEL: Final = 128
ANY_SLOT: Final = 256
"""The slot is layout.ANY_SLOT; CODED_SLOT must not be set beside it."""

CODED_RARE: Final = CODED_VALUE | CODED_ACCOUNT | CODED_COUNT

# --- scratch ---------------------------------------------------------------------------------

CURSOR = _record(
    [
        ("state", "i8"),
        ("position", "u8"),  # offset of the next unread byte of the batch
        ("words_end", "u8"),  # offset behind the last word
        ("error", "u8"),  # first Invalid met, 0 if none
        ("blocks_left", "u8"),
        ("block_index", "u8"),  # 1 for the first block
        ("signature_count", "u8"),
        ("operation_count", "u8"),
        ("value_unit", "i8"),
        ("touched_count", "u8"),  # lanes named so far
        ("valid_units", "i8"),  # of the last message
        ("time_ms", "u8"),  # of the block being decoded
        ("time_units", "u8"),  # the same in VALID_UNIT_MS, rounded down
    ],
    128,
)

LANE_MEMORY = _record(
    [
        ("lane", "u4"),
        ("account", "u4"),
        ("sequence", "u8"),  # expected next, valid within block_index
        ("valid_units", "i8"),  # last valid-until minus block time, in VALID_UNIT_MS
        ("block_index", "u4"),
        ("record_count", "u4"),
        ("first_class", "u4"),  # kind class of the last message's first record
        ("slot", "u4"),
        ("label", "u4"),
        ("label_step", "u4"),
        ("instrument", "u4"),
        ("quantity", "u4"),
    ],
    64,
)
"""What the codec remembers of a lane during one batch."""

SLOT_MEMORY = _record(
    [
        ("tag", "u4"),  # order id + 1, 0 if unused
        ("price", "u4"),
        ("quantity", "u4"),
        ("instrument", "u2"),
        ("side", "u1"),
        ("known", "u1"),  # 1 if an order was seen and not emptied since
    ],
    16,
)
"""What the codec remembers of an order slot; a miss is filled from the order in state."""

MESSAGE_MEMORY = _record(
    [
        ("shift", "u4"),  # price change of the last requoted order in this message
        ("shift_instrument", "u4"),
        ("price", "u4"),  # of the last order in this message
        ("price_book", "u4"),  # 2 * instrument + side of that order; NO_BOOK before the first
    ],
    64,
)
"""What the codec remembers within one message."""

NO_BOOK: Final = 0xFFFF_FFFF

TABLE = _record(
    [
        ("mask", "u8"),  # 2^log - 1
        ("log", "u8"),
        ("symbol_count", "u8"),
    ],
    64,
)

ENTRY = _record(
    [
        ("place", "u2"),  # of this slot among those of its symbol
        ("frequency", "u2"),
        ("symbol", "u4"),  # offset of the symbol from the table's start, in bytes
    ],
    8,
)

SYMBOL = _record(
    [
        ("base", "i8"),
        ("packed", "u8"),  # extra bits | first single inside << 8 | end of those << 24
    ],
    16,
)

LANE_MEMORY_BYTES: Final = LANE_MEMORY.itemsize
SLOT_MEMORY_BYTES: Final = SLOT_MEMORY.itemsize
SYMBOL_BYTES: Final = SYMBOL.itemsize
ENTRY_BYTES: Final = ENTRY.itemsize

CURSOR_BASE: Final = layout.SCRATCH_DECODER_BASE
MESSAGE_MEMORY_BASE: Final = CURSOR_BASE + 0x100
NO_SLOT_MEMORY_BASE: Final = CURSOR_BASE + 0x180
"""Stands for a slot that is not known: always empty when read."""
CONTEXT_TABLES_BASE: Final = CURSOR_BASE + 0x400
LANE_PLACES_BASE: Final = CURSOR_BASE + 0x1_0000
"""u4 per lane: 1 + its place in the order of first naming, 0 if not named yet."""
LANE_MEMORY_BASE: Final = CURSOR_BASE + 0x4_0000
SLOT_MEMORY_BASE: Final = CURSOR_BASE + 0x28_0000
SLOT_MEMORY_LOG: Final = 16
MODEL_END: Final = SLOT_MEMORY_BASE + (SLOT_MEMORY_BYTES << SLOT_MEMORY_LOG)
"""End of what the encoder uses as well, from CURSOR_BASE on."""

TABLES_BASE: Final = CURSOR_BASE + 0x40_0000
TABLE_ENTRIES: Final = TABLE.itemsize
TABLE_SYMBOLS: Final = TABLE_ENTRIES + (ENTRY_BYTES << MAX_TABLE_LOG)
TABLE_BYTES: Final = TABLE_SYMBOLS + MAX_SYMBOLS * SYMBOL_BYTES
"""A table in scratch: its head, one ENTRY per slot, its symbols."""


def _check() -> None:
    relations = (
        CONTEXT_TABLES_BASE + 8 * CONTEXTS <= LANE_PLACES_BASE,
        LANE_PLACES_BASE + 4 * layout.LANES <= LANE_MEMORY_BASE,
        LANE_MEMORY_BASE + LANE_MEMORY_BYTES * (layout.LANES + 1) <= SLOT_MEMORY_BASE,
        MODEL_END <= TABLES_BASE,
        TABLES_BASE + TABLE_BYTES * MAX_TABLES
        <= layout.SCRATCH_DECODER_BASE + layout.SCRATCH_DECODER_BYTES,
        1 << LANE_BITS == layout.LANES,
        1 << ACCOUNT_BITS == layout.ACCOUNTS,
        layout.OWNER_OPERATION.itemsize == OWNER_WORDS * 8,
    )
    if not all(relations):
        raise ImportError("scratch of the batch codec does not fit layout.py")


_check()
