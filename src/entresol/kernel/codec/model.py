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
from entresol.kernel.views import durable_at, operation_at, volatile_at

lane_memory_at = record_at(codec.LANE_MEMORY)
slot_memory_at = record_at(codec.SLOT_MEMORY)
message_memory_at = record_at(codec.MESSAGE_MEMORY)

_WORD: Final = 0xFFFF_FFFF
_HASH_MULTIPLIER: Final = 2654435761
"""2^32 / golden ratio: spreads order ids over the slot memory."""

# Contexts of the price and quantity columns, offsets from the column's first.
PRICE_MEMORY: Final = 0
PRICE_PASSIVE: Final = 1
PRICE_TAKER: Final = 2
PRICE_OTHER: Final = 3
QUANTITY_MEMORY: Final = 0
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
    return kind in (layout.PLACE, layout.QUOTE_LEG)


@kernel_function
def is_oracle(kind: int) -> bool:
    """True for records that carry an oracle price."""
    return kind in (layout.ORACLE_INDEX, layout.ORACLE_MARK)


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
def begin_message(memory: int, place: int) -> int:
    """Prepare the memories for a message of the lane at `place`; its expected sequence number.

    Within a block the sequence counts on from the last message; at a new block it is state's.
    """
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane_memory_address(memory, place))
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    message.shift = 0
    message.has_price = 0
    if i64(remembered.block_index) != i64(cursor.block_index):
        lane = i64(remembered.lane) & (layout.LANES - 1)
        record = durable_at(memory + DURABLE_BASE).lane[lane]
        remembered.block_index = i64(cursor.block_index)
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
    slot.status = codec.SLOT_UNKNOWN
    if i64(order.remaining) != 0:
        instrument = i64(order.instrument)
        record = durable_at(memory + DURABLE_BASE).instrument[instrument & (layout.INSTRUMENTS - 1)]
        slot.price = (i64(record.base_tick) + i64(order.tick)) & _WORD
        slot.quantity = i64(order.quantity)
        slot.instrument = instrument
        slot.side = i64(order.side)
        slot.status = codec.SLOT_LIVE


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
def forget_any_slot(memory: int) -> int:
    """Native address of the memory that stands for a slot not known yet: nothing remembered."""
    address = memory + codec.ANY_SLOT_MEMORY_BASE
    slot_memory_at(address).status = codec.SLOT_UNKNOWN
    return address


@kernel_function
def remember_order(memory: int, lane: int, slot_address: int, operation: int) -> None:
    """Keep what an order-like record (native address) said, for the ones that follow."""
    record = operation_at(operation)
    remembered = lane_memory_at(lane)
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    slot = slot_memory_at(slot_address)
    quantity = i64(record.quantity)
    if quantity == 0:
        slot.status = codec.SLOT_EMPTIED
        return
    instrument = i64(record.instrument)
    price = i64(record.price)
    label = i64(record.label)
    if i64(slot.status) == codec.SLOT_LIVE and i64(slot.instrument) == instrument:
        message.shift = (price - i64(slot.price)) & _WORD
        message.shift_instrument = instrument
    message.has_price = 1
    message.price = price
    message.price_instrument = instrument
    message.price_side = i64(record.flags) & layout.FLAG_SELL
    remembered.instrument = instrument
    remembered.label_step = (label - i64(remembered.label)) & _WORD
    remembered.label = label
    remembered.quantity = quantity
    slot.price = price
    slot.quantity = quantity
    slot.instrument = instrument
    slot.side = i64(record.flags) & layout.FLAG_SELL
    slot.status = codec.SLOT_LIVE


# --- predictions -----------------------------------------------------------------------------


@kernel_function
def predicted_flags(slot_address: int) -> int:
    """Flags of an order-like record: the side of the order seen in its slot."""
    slot = slot_memory_at(slot_address)
    if i64(slot.status) == codec.SLOT_LIVE:
        return i64(slot.side)
    return i64(0)


@kernel_function
def predicted_instrument(lane: int, slot_address: int) -> int:
    """Instrument of an order-like record: the slot's, or else the lane's last one."""
    slot = slot_memory_at(slot_address)
    if i64(slot.status) == codec.SLOT_LIVE:
        return i64(slot.instrument)
    return i64(lane_memory_at(lane).instrument) & 0xFFFF


@kernel_function
def quantity_context(slot_address: int, instrument: int) -> int:
    """Context of an order's quantity: whether the slot had an order in this instrument."""
    slot = slot_memory_at(slot_address)
    if i64(slot.status) == codec.SLOT_LIVE and i64(slot.instrument) == instrument:
        return i64(QUANTITY_MEMORY)
    return i64(QUANTITY_NEW)


@kernel_function
def predicted_quantity(lane: int, slot_address: int, context: int) -> int:
    """Quantity of an order: the slot's last one, or else the lane's."""
    if context == QUANTITY_MEMORY:
        return i64(slot_memory_at(slot_address).quantity)
    return i64(lane_memory_at(lane).quantity)


@kernel_function
def price_context(slot_address: int, instrument: int, flags: int) -> int:
    """Context of an order's price: requoted, passive, or taking at once."""
    slot = slot_memory_at(slot_address)
    if i64(slot.status) == codec.SLOT_LIVE and i64(slot.instrument) == instrument:
        return i64(PRICE_MEMORY)
    if flags & layout.FLAG_TIME_IN_FORCE_MASK != 0:
        return i64(PRICE_TAKER)
    return i64(PRICE_PASSIVE)


@kernel_function
def _book_price(memory: int, instrument: int, side: int) -> int:
    """Best price of a book side before the block, or the base price of an empty side."""
    place = instrument & (layout.INSTRUMENTS - 1)
    best = i64(volatile_at(memory + VOLATILE_BASE).side[place, side].best)
    base = i64(durable_at(memory + DURABLE_BASE).instrument[place].base_tick)
    if best >= layout.TICKS:
        best = i64(0)
    elif side == layout.BUY:
        best = layout.TICKS - 1 - best
    return (base + best) & _WORD


@kernel_function
def predicted_price(
    memory: int, slot_address: int, instrument: int, flags: int, context: int
) -> int:
    """Price of an order, as 32 bits.

    Requoted: the slot's price, moved as the message moved its last requote in this instrument.
    Passive: the message's last price on this side, or else the best of its own side.  Taking: the
    best of the other side.
    """
    message = message_memory_at(memory + codec.MESSAGE_MEMORY_BASE)
    side = flags & layout.FLAG_SELL
    if context == PRICE_MEMORY:
        price = i64(slot_memory_at(slot_address).price)
        if i64(message.shift) != 0 and i64(message.shift_instrument) == instrument:
            price += i64(message.shift)
        return price & _WORD
    if context == PRICE_TAKER:
        return _book_price(memory, instrument, 1 - side)
    if i64(message.has_price) != 0 and i64(message.price_side) == side:
        if i64(message.price_instrument) == instrument:
            return i64(message.price)
    return _book_price(memory, instrument, side)


@kernel_function
def emptied_price(slot_address: int, instrument: int) -> int:
    """Price of a leg that only empties its slot: that of the order seen there, if any."""
    slot = slot_memory_at(slot_address)
    if i64(slot.status) == codec.SLOT_LIVE and i64(slot.instrument) == instrument:
        return i64(slot.price)
    return i64(0)


@kernel_function
def predicted_label(lane: int) -> int:
    """Label of an order-like record: the lane's last one plus its last step."""
    remembered = lane_memory_at(lane)
    return (i64(remembered.label) + i64(remembered.label_step)) & _WORD


@kernel_function
def predicted_value(memory: int, kind: int, instrument: int) -> int:
    """Oracle price before the block, in whole units of the batch's value unit."""
    durable = durable_at(memory + DURABLE_BASE)
    unit = i64(cursor_at(memory + codec.CURSOR_BASE).value_unit)
    if kind == layout.ORACLE_INDEX:
        value = i64(durable.underlying[instrument & (layout.UNDERLYINGS - 1)].index)
    else:
        value = i64(durable.risk[instrument & (layout.INSTRUMENTS - 1)].mark)
    return divide_truncate(value, unit)


@kernel_function
def signed_word(value: int) -> int:
    """The low 32 bits of `value` as a signed integer."""
    return ((value & _WORD) ^ 0x8000_0000) - 0x8000_0000


@kernel_function
def signed_half(value: int) -> int:
    """The low 16 bits of `value` as a signed integer."""
    return ((value & 0xFFFF) ^ 0x8000) - 0x8000
