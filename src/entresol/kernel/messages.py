"""Whether a message is accepted, and what accepting it does to its lane or owner.

`check_message` is the acceptance rule: the gateway applies it, the sequencer applies it again,
and a batch with a message it refuses is invalid.  An accepted message always advances its
sequence number, whatever becomes of its operations.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.accounts import owner_address
from entresol.kernel.lanes import LANE_TIP, lane_address, note_lane
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_RUN_BASE
from entresol.kernel.rejections import Refusal
from entresol.kernel.signatures import owner_message_is_signed
from entresol.kernel.subset import divide_unsigned, i64, keccak256, kernel_function, load_i64
from entresol.kernel.views import (
    durable_at,
    field_address,
    message_header_at,
    operation_at,
    owner_operation_at,
    run_at,
)
from entresol.kernel.words import OPERAND, RESULT, address_is_zero, copy_records, copy_words

RECORD_BYTES: Final = layout.OPERATION.itemsize
HEADER_BYTES: Final = layout.MESSAGE_HEADER.itemsize
OWNER_RECORDS: Final = layout.OWNER_OPERATION.itemsize // RECORD_BYTES
MAX_BLOCK_MESSAGE_BYTES: Final = layout.MAX_BLOCK_BYTES - layout.BLOCK_HEADER.itemsize
MAX_LIFETIME_MS: Final = 366 * 86_400_000
"""How far ahead of the block's time `valid_until_ms` may lie."""

_DIGEST: Final = field_address(SCRATCH_RUN_BASE, layout.RUN, "messages_digest")
_HEADER_TAIL: Final = 24
"""First of the eight bytes of a message header that no field names."""
_OWNER_TAIL: Final = 176
"""First of the sixteen bytes of an owner operation that no field names."""

_ACCEPTED: Final = int(Refusal.ACCEPTED)
_BAD_VERSION: Final = int(Refusal.BAD_VERSION)
_BAD_FRAMING: Final = int(Refusal.BAD_FRAMING)
_UNKNOWN_LANE: Final = int(Refusal.UNKNOWN_LANE)
_KEY_EXPIRED: Final = int(Refusal.KEY_EXPIRED)
_WRONG_SEQUENCE: Final = int(Refusal.WRONG_SEQUENCE)
_EXPIRED: Final = int(Refusal.EXPIRED)
_VALID_UNTIL_TOO_FAR: Final = int(Refusal.VALID_UNTIL_TOO_FAR)
_REJECTION_LIMIT: Final = int(Refusal.REJECTION_LIMIT)
_UNKNOWN_ACCOUNT: Final = int(Refusal.UNKNOWN_ACCOUNT)
_BAD_SIGNATURE: Final = int(Refusal.BAD_SIGNATURE)
_BLOCK_FULL: Final = int(Refusal.BLOCK_FULL)


@kernel_function
def message_bytes(address: int) -> int:
    """Length that the message at this native address claims: its header and records."""
    return HEADER_BYTES + RECORD_BYTES * i64(message_header_at(address).record_count)


@kernel_function
def _check_lane_framing(address: int, count: int) -> int:
    """Each MASS_QUOTE is followed by exactly `count` QUOTE_LEGs, which appear nowhere else."""
    if count < 1 or count > layout.MAX_RECORDS_PER_MESSAGE:
        return i64(_BAD_FRAMING)
    legs = i64(0)
    for index in range(count):
        operation = operation_at(address + HEADER_BYTES + RECORD_BYTES * index)
        kind = i64(operation.kind)
        if legs > 0:
            if kind != layout.QUOTE_LEG:
                return i64(_BAD_FRAMING)
            legs -= 1
        elif kind == layout.QUOTE_LEG:
            return i64(_BAD_FRAMING)
        elif kind == layout.MASS_QUOTE:
            legs = i64(operation.count)
    if legs > 0:
        return i64(_BAD_FRAMING)
    return i64(_ACCEPTED)


@kernel_function
def _listing_fields(address: int) -> int:
    """All bits of the fields that only LIST_INSTRUMENT uses."""
    operation = owner_operation_at(address)
    seen = i64(operation.instrument_kind) | i64(operation.underlying)
    seen |= i64(operation.tick_size) | i64(operation.contract_size) | i64(operation.base_tick)
    seen |= i64(operation.strike) | i64(operation.symbol) | i64(operation.margin_class)
    seen |= i64(operation.minimum_lots) | i64(operation.maximum_lots)
    return seen | i64(operation.maximum_age_ms)


@kernel_function
def _address_field(address: int) -> int:
    operation = owner_operation_at(address)
    seen = i64(0)
    for limb in range(5):
        seen |= i64(operation.address[limb])
    return seen


@kernel_function
def _check_owner_framing(address: int, count: int) -> int:
    """The kind exists and every field that its signed struct does not name is zero."""
    if count != OWNER_RECORDS:
        return i64(_BAD_FRAMING)
    at = address + HEADER_BYTES
    operation = owner_operation_at(at)
    kind = i64(operation.kind)
    unused = i64(operation.flags) | i64(operation.zero)
    unused |= load_i64(at + _OWNER_TAIL) | load_i64(at + _OWNER_TAIL + 8)
    if kind != layout.LIST_INSTRUMENT:
        unused |= _listing_fields(at)
    if kind != layout.REVOKE_LANE:
        unused |= i64(operation.lane)
    if kind not in (layout.WITHDRAW, layout.OWNER_TRANSFER):
        unused |= i64(operation.amount)
    if kind not in (layout.WITHDRAW, layout.REGISTER_LANE):
        unused |= _address_field(at)
    if kind != layout.REGISTER_LANE:
        unused |= i64(operation.permissions)
        if kind != layout.LIST_INSTRUMENT:
            unused |= i64(operation.expires_ms)
    if kind != layout.OWNER_TRANSFER:
        unused |= i64(operation.account)
    if unused != 0 or kind < layout.WITHDRAW or kind > layout.LIST_INSTRUMENT:
        return i64(_BAD_FRAMING)
    return i64(_ACCEPTED)


@kernel_function
def _check_lane(memory: int, address: int) -> int:
    header = message_header_at(address)
    durable = durable_at(memory + DURABLE_BASE)
    now = i64(durable.header.last_time_ms)
    number = i64(header.target)
    if number < 1 or number >= layout.LANES:
        return i64(_UNKNOWN_LANE)
    lane = durable.lane[number]
    if i64(lane.registration) == 0:
        return i64(_UNKNOWN_LANE)
    if i64(lane.expires_ms) < now:
        return i64(_KEY_EXPIRED)
    if i64(header.sequence) != i64(lane.sequence) + 1:
        return i64(_WRONG_SEQUENCE)
    if i64(lane.rejection_second) == divide_unsigned(now, i64(1000)):
        if i64(lane.rejection_count) >= i64(durable.header.rejections_per_second):
            return i64(_REJECTION_LIMIT)
    return _check_lane_framing(address, i64(header.record_count))


@kernel_function
def _check_owner(memory: int, address: int) -> int:
    header = message_header_at(address)
    durable = durable_at(memory + DURABLE_BASE)
    account = i64(header.target)
    if account >= i64(durable.header.account_count):
        return i64(_UNKNOWN_ACCOUNT)
    owner = owner_address(memory, account)
    if address_is_zero(owner):
        return i64(_UNKNOWN_ACCOUNT)
    if i64(header.sequence) != i64(durable.account[account].owner_nonce) + 1:
        return i64(_WRONG_SEQUENCE)
    status = _check_owner_framing(address, i64(header.record_count))
    if status != _ACCEPTED:
        return status
    if i64(run_at(memory + SCRATCH_RUN_BASE).batch) != 0:
        if not owner_message_is_signed(memory, address, owner):
            return i64(_BAD_SIGNATURE)
    return i64(_ACCEPTED)


@kernel_function
def check_native_message(memory: int, address: int) -> int:
    """The acceptance rule for the message at a *native* address; a Refusal, 0 when accepted.

    Writes no state.  At most MAX_RECORDS_PER_MESSAGE records after the header are read.
    """
    header = message_header_at(address)
    now = i64(durable_at(memory + DURABLE_BASE).header.last_time_ms)
    if i64(header.version) != layout.ENCODING_VERSION:
        return i64(_BAD_VERSION)
    if i64(header.record_count) > layout.MAX_RECORDS_PER_MESSAGE:
        return i64(_BAD_FRAMING)
    # A batch does not carry these bytes, yet the tip would cover them.
    if load_i64(address + _HEADER_TAIL) != 0:
        return i64(_BAD_FRAMING)
    valid_until = i64(header.valid_until_ms)
    if valid_until < 0 or valid_until > now + MAX_LIFETIME_MS:
        return i64(_VALID_UNTIL_TOO_FAR)
    if valid_until < now:
        return i64(_EXPIRED)
    run = run_at(memory + SCRATCH_RUN_BASE)
    if i64(run.message_count) >= layout.MAX_MESSAGES_PER_BLOCK:
        return i64(_BLOCK_FULL)
    if i64(run.byte_count) + message_bytes(address) > MAX_BLOCK_MESSAGE_BYTES:
        return i64(_BLOCK_FULL)
    if i64(header.kind) == layout.LANE_MESSAGE:
        return _check_lane(memory, address)
    if i64(header.kind) == layout.OWNER_MESSAGE:
        return _check_owner(memory, address)
    return i64(_BAD_FRAMING)


@kernel_function
def _fold_link(memory: int, link: int) -> None:
    """Extend the block's messages digest by the 32 bytes at native address `link`."""
    operand = memory + OPERAND
    copy_words(operand, memory + _DIGEST, 4)
    copy_words(operand + 32, link, 4)
    keccak256(operand, 64, memory + _DIGEST)


@kernel_function
def accept_lane_message(memory: int, address: int) -> int:
    """Extend the lane by an accepted message (native address); the lane's number."""
    lane = i64(message_header_at(address).target)
    note_lane(memory, lane)
    record = durable_at(memory + DURABLE_BASE).lane[lane]
    record.sequence = i64(record.sequence) + 1
    tip = lane_address(memory, lane) + LANE_TIP
    operand = memory + OPERAND
    length = message_bytes(address)
    copy_words(operand, tip, 4)
    copy_records(operand + 32, address, length)
    keccak256(operand, 32 + length, tip)
    _fold_link(memory, tip)
    _count_message(memory, length)
    return lane


@kernel_function
def accept_owner_message(memory: int, address: int) -> int:
    """Use up the owner's nonce for an accepted message (native address); the account."""
    account = i64(message_header_at(address).target)
    record = durable_at(memory + DURABLE_BASE).account[account]
    record.owner_nonce = i64(record.owner_nonce) + 1
    operand = memory + OPERAND
    length = message_bytes(address)
    copy_records(operand, address, length)
    keccak256(operand, length, memory + RESULT)
    _fold_link(memory, memory + RESULT)
    _count_message(memory, length)
    return account


@kernel_function
def _count_message(memory: int, length: int) -> None:
    run = run_at(memory + SCRATCH_RUN_BASE)
    run.message_count = i64(run.message_count) + 1
    run.byte_count = i64(run.byte_count) + length


@kernel_function
def count_rejection(memory: int, lane: int) -> None:
    """Charge one rejected operation to the lane's budget for this second of kernel time."""
    durable = durable_at(memory + DURABLE_BASE)
    record = durable.lane[lane]
    second = divide_unsigned(i64(durable.header.last_time_ms), i64(1000))
    if i64(record.rejection_second) != second:
        record.rejection_second = second
        record.rejection_count = 0
    record.rejection_count = i64(record.rejection_count) + 1
