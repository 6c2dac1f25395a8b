"""What the codec expects next: predictions from state, from the batch so far, from the message.

Decoder and encoder call these functions in the same order, so both remember the same.  Nothing
here is trusted: a bad prediction costs bytes, never correctness, and every index is masked.
State is read as it stands before the block that is being decoded.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec.entropy import cursor_at
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.subset import (
    divide_truncate,
    i64,
    kernel_function,
    load_u32,
    record_at,
    shift_right,
    store_u32,
)
from entresol.kernel.views import durable_at, volatile_at

lane_memory_at = record_at(codec.LANE_MEMORY)
slot_memory_at = record_at(codec.SLOT_MEMORY)
message_memory_at = record_at(codec.MESSAGE_MEMORY)

_WORD: Final = 0xFFFF_FFFF
_HASH_MULTIPLIER: Final = 2654435761
"""2^32 / golden ratio: spreads order ids over the slot memory."""

# Contexts of a column, as offsets from the column's first.
PRICE_REQUOTED: Final = 0
PRICE_PASSIVE: Final = 1
PRICE_TAKER: Final = 2
PRICE_OTHER: Final = 3
QUANTITY_REQUOTED: Final = 0
QUANTITY_NEW: Final = 1
QUANTITY_OTHER: Final = 2
VALUE_INDEX: Final = 0
VALUE_MARK: Final = 1
VALUE_OTHER: Final = 2
SLOT_ORDER: Final = 0
SLOT_CANCEL: Final = 1
SLOT_OTHER: Final = 2
INSTRUMENT_ORDER: Final = 0
INSTRUMENT_OTHER: Final = 1
OWNER_SEQUENCE: Final = 0
OWNER_VALID_UNTIL: Final = 1


@kernel_function
def kind_class(kind: int) -> int:
    """Class of an operation kind as a context: kinds beyond the known ones share one."""
    if kind < codec.KIND_CLASSES - 1:
        return i64(kind)
    return i64(codec.KIND_CLASSES - 1)


@kernel_function
def is_order(kind: int) -> bool:
    """True for records that leave an order in a slot."""
    # A test by `in` would become a loop over the tuple.
    return (kind == layout.PLACE) | (kind == layout.QUOTE_LEG)


@kernel_function
def is_oracle(kind: int) -> bool:
    """True for records that carry an oracle price."""
    return (kind == layout.ORACLE_INDEX) | (kind == layout.ORACLE_MARK)


@kernel_function
def signed_word(value: int) -> int:
    """The low 32 bits of `value` as a signed integer."""
    return ((value & _WORD) ^ 0x8000_0000) - 0x8000_0000


@kernel_function
def signed_half(value: int) -> int:
    """The low 16 bits of `value` as a signed integer."""
    return ((value & 0xFFFF) ^ 0x8000) - 0x8000


# --- lanes -----------------------------------------------------------------------------------


@kernel_function
def lane_place(memory: int, lane: int) -> int:
    """1 + the place of a lane (below LANES) in the order of first naming, 0 if not named yet."""
    return load_u32(memory + codec.LANE_PLACES_BASE + 4 * lane)


@kernel_function
def lane_memory_address(memory: int, place: int) -> int:
    """Native address of the memory of the lane at `place` (below LANES), from 0."""
    return memory + codec.LANE_MEMORY_BASE + codec.LANE_MEMORY_BYTES * place


@kernel_function
def name_lane(memory: int, lane: int) -> int:
    """Give a lane its place at its first naming; returns the place."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    place = i64(cursor.touched_count)
    cursor.touched_count = place + 1
    store_u32(memory + codec.LANE_PLACES_BASE + 4 * lane, place + 1)
    remembered = lane_memory_at(lane_memory_address(memory, place))
    remembered.lane = lane
    remembered.valid_units = i64(cursor.valid_units)
    return place


@kernel_function
def begin_message(memory: int, lane: int) -> int:
    """Prepare the memories for a message of a lane (native address of its memory).

    Returns the expected sequence number: within a block it counts on from the last message, at a
    new block it is state's.
    """
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    message.shift = 0
    message.price_book = codec.NO_BOOK
    block = i64(cursor.block_index)
    if i64(remembered.block_index) != block:
        number = i64(remembered.lane) & (layout.LANES - 1)
        record = durable_at(memory + DURABLE_BASE).lane[number]
        remembered.block_index = block
        remembered.sequence = i64(record.sequence) + 1
        remembered.account = i64(record.account) & (layout.ACCOUNTS - 1)
    return i64(remembered.sequence)


# --- slots -----------------------------------------------------------------------------------


@kernel_function
def _recall_from_state(memory: int, address: int, order_id: int) -> None:
    """Fill a slot's memory from the order that rests in it, if one does."""
    slot = slot_memory_at(address)
    order = volatile_at(memory + VOLATILE_BASE).order[order_id]
    slot.tag = order_id + 1
    slot.known = 0
    if i64(order.remaining) != 0:
        instrument = i64(order.instrument)
        record = durable_at(memory + DURABLE_BASE).instrument[instrument & (layout.INSTRUMENTS - 1)]
        slot.price = (i64(record.base_tick) + i64(order.tick)) & _WORD
        slot.quantity = i64(order.quantity)
        slot.instrument = instrument
        slot.side = i64(order.side) & layout.FLAG_SELL
        slot.known = 1


@kernel_function
def recall_slot(memory: int, account: int, slot: int) -> int:
    """Native address of the memory of an account's order slot; any values are safe."""
    order_id = (account & (layout.ACCOUNTS - 1)) * layout.SLOTS + (slot & (layout.SLOTS - 1))
    place = shift_right((order_id * _HASH_MULTIPLIER) & _WORD, 32 - codec.SLOT_MEMORY_LOG)
    address = memory + codec.SLOT_MEMORY_BASE + codec.SLOT_MEMORY_BYTES * place
    if i64(slot_memory_at(address).tag) != order_id + 1:
        _recall_from_state(memory, address, order_id)
    return address


@kernel_function
def recall_no_slot(memory: int) -> int:
    """Native address of the memory that stands for a slot not known yet: nothing seen."""
    address = memory + codec.NO_SLOT_MEMORY_BASE
    slot_memory_at(address).known = 0
    return address


@kernel_function
def remember_price(memory: int, before: int, price: int, instrument: int, side: int) -> None:
    """Keep an order's price for the rest of its message; `before` is the requoted one or -1."""
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    if before >= 0:
        message.shift = (price - before) & _WORD
        message.shift_instrument = instrument
    message.price = price
    message.price_book = 2 * instrument + side


@kernel_function
def remember_slot(address: int, price: int, quantity: int, instrument: int, side: int) -> None:
    """Keep what an order-like record put into its slot."""
    slot = slot_memory_at(address)
    slot.price = price
    slot.quantity = quantity
    slot.instrument = instrument
    slot.side = side
    slot.known = 1


@kernel_function
def remember_lane(lane: int, quantity: int, instrument: int, label: int) -> None:
    """Keep what an order-like record says about its lane's next one."""
    remembered = lane_memory_at(lane)
    remembered.label_step = (label - i64(remembered.label)) & _WORD
    remembered.label = label
    remembered.instrument = instrument
    remembered.quantity = quantity


# --- predictions -----------------------------------------------------------------------------


@kernel_function
def requoted_price(memory: int, price: int, instrument: int) -> int:
    """Expected price of an order that replaces one at `price` in the same instrument.

    It moves as the message moved its last requote in this instrument.
    """
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    if i64(message.shift_instrument) == instrument:
        return (price + i64(message.shift)) & _WORD
    return price


@kernel_function
def _book_price(memory: int, instrument: int, side: int) -> int:
    """Best price of a book side before the block, or the base price of an empty side."""
    place = instrument & (layout.INSTRUMENTS - 1)
    best = i64(volatile_at(memory + VOLATILE_BASE).side[place, side & 1].best)
    base = i64(durable_at(memory + DURABLE_BASE).instrument[place].base_tick)
    if best >= layout.TICKS:
        best = i64(0)
    elif side == layout.BUY:
        best = layout.TICKS - 1 - best
    return (base + best) & _WORD


@kernel_function
def new_price(memory: int, instrument: int, flags: int) -> int:
    """Expected price of an order that replaces none.

    Passive: the message's last price on this side of the book, or else the best of its own side.
    Taking: the best of the other side.
    """
    side = flags & layout.FLAG_SELL
    if flags & layout.FLAG_TIME_IN_FORCE_MASK != 0:
        return _book_price(memory, instrument, 1 - side)
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    if i64(message.price_book) == 2 * instrument + side:
        return i64(message.price)
    return _book_price(memory, instrument, side)


@kernel_function
def new_price_context(flags: int) -> int:
    """Context of the price of an order that replaces none: passive or taking."""
    if flags & layout.FLAG_TIME_IN_FORCE_MASK != 0:
        return i64(codec.PRICE + PRICE_TAKER)
    return i64(codec.PRICE + PRICE_PASSIVE)


@kernel_function
def expected_label(lane: int) -> int:
    """Label of an order-like record: the lane's last one plus its last step."""
    remembered = lane_memory_at(lane)
    return (i64(remembered.label) + i64(remembered.label_step)) & _WORD


@kernel_function
def expected_oracle_units(memory: int, kind: int, instrument: int) -> int:
    """Oracle price before the block, in whole units of the batch's value unit."""
    durable = durable_at(memory + DURABLE_BASE)
    unit = i64(cursor_at(memory + codec.CURSOR_BASE).value_unit)
    if kind == layout.ORACLE_INDEX:
        value = i64(durable.underlying[instrument & (layout.UNDERLYINGS - 1)].index)
    else:
        value = i64(durable.risk[instrument & (layout.INSTRUMENTS - 1)].mark)
    return divide_truncate(value, unit)
