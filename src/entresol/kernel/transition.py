"""The state transition: operation < message < block < batch.

`apply_batch` is what the machine runs and L1 can check.  The sequencer applies the same blocks
piece by piece with open_block, apply_message and close_block; lane and owner signatures are the
only rule it leaves to its gateway.  Everything here is total: any input ends in a status.

A refused message and a block that does not open change nothing.  A batch that ends in an Invalid
may have changed state already: whoever runs it keeps the state before, as L1 does.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.batch_codec import (
    lane_signature,
    next_block,
    open_decoder,
    signature_count,
)
from entresol.kernel.block_header import seal_header
from entresol.kernel.events import emit, fold_outcome
from entresol.kernel.inbox import check_inbox, consume_inbox
from entresol.kernel.journal import write_journal
from entresol.kernel.lanes import TOUCHED_KEY, TOUCHED_TIP, capture_all_tips, touched_address
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_RUN_BASE
from entresol.kernel.messages import (
    HEADER_BYTES,
    MAX_BLOCK_MESSAGE_BYTES,
    OWNER_RECORDS,
    RECORD_BYTES,
    accept_lane_message,
    accept_owner_message,
    check_native_message,
    count_rejection,
    message_bytes,
)
from entresol.kernel.operations.cancel import apply_cancel
from entresol.kernel.operations.cancel_all import apply_cancel_all
from entresol.kernel.operations.expire import apply_expire
from entresol.kernel.operations.list_instrument import apply_list_instrument
from entresol.kernel.operations.mass_quote import apply_mass_quote
from entresol.kernel.operations.oracle_index import apply_oracle_index
from entresol.kernel.operations.oracle_mark import apply_oracle_mark
from entresol.kernel.operations.owner_transfer import apply_owner_transfer
from entresol.kernel.operations.place import apply_place
from entresol.kernel.operations.register_lane import apply_register_lane
from entresol.kernel.operations.revoke_lane import apply_revoke_lane
from entresol.kernel.operations.transfer import apply_transfer
from entresol.kernel.operations.withdraw import apply_withdraw
from entresol.kernel.rejections import Invalid, Refusal, Rejection
from entresol.kernel.signatures import lane_tip_is_signed
from entresol.kernel.subset import entry_point, i64, kernel_function
from entresol.kernel.views import (
    DOMAIN_ADDRESS,
    block_header_at,
    durable_at,
    field_address,
    message_header_at,
    operation_at,
    owner_operation_at,
    params_at,
    run_at,
)
from entresol.kernel.withdrawals import update_withdrawal_root
from entresol.kernel.words import clear_words, words_equal

MAX_TIME_MS: Final = 1 << 42
"""No block is later than this (the year 2109), so that times add without care."""

MAX_AHEAD_OF_L1_MS: Final = 12_000
"""How far a batch's last block may be ahead of the L1 block that carries it."""

_BLOCK_HEADER_BYTES: Final = layout.BLOCK_HEADER.itemsize
_PARAMS_DOMAIN: Final = field_address(layout.PARAMS_BASE, layout.PARAMS, "domain")
_DIGEST: Final = field_address(SCRATCH_RUN_BASE, layout.RUN, "messages_digest")

_APPLIED: Final = int(Rejection.APPLIED)
_UNKNOWN_OPERATION: Final = int(Rejection.UNKNOWN_OPERATION)
_NOT_PERMITTED: Final = int(Rejection.NOT_PERMITTED)
_ACCEPTED: Final = int(Refusal.ACCEPTED)
_BAD_SIGNATURE: Final = int(Refusal.BAD_SIGNATURE)
_NO_OPEN_BLOCK: Final = int(Refusal.NO_OPEN_BLOCK)
_VALID: Final = int(Invalid.VALID)
_BAD_PARAMS: Final = int(Invalid.BAD_PARAMS)
_BAD_ENCODING: Final = int(Invalid.BAD_ENCODING)
_TOO_LARGE: Final = int(Invalid.TOO_LARGE)
_BLOCK_NUMBER: Final = int(Invalid.BLOCK_NUMBER)
_BLOCK_TIME: Final = int(Invalid.BLOCK_TIME)
_MESSAGE: Final = int(Invalid.MESSAGE)
_SIGNATURE: Final = int(Invalid.SIGNATURE)
_EMPTY: Final = int(Invalid.EMPTY)


# --- operations ------------------------------------------------------------------------------


@kernel_function
def _needed_permission(kind: int) -> int:
    """Permission that a lane's key needs for an operation; 0 when anyone may ask for it."""
    if kind in (layout.ORACLE_INDEX, layout.ORACLE_MARK):
        return i64(layout.PERMISSION_ORACLE)
    if kind == layout.TRANSFER:
        return i64(layout.PERMISSION_TRANSFER)
    if kind == layout.EXPIRE:
        return i64(0)
    return i64(layout.PERMISSION_TRADE)


@kernel_function
def apply_operation(memory: int, lane: int, account: int, address: int) -> int:
    """Apply the OPERATION at a native address for the lane's account; a Rejection."""
    kind = i64(operation_at(address).kind)
    if kind < layout.PLACE or kind > layout.EXPIRE or kind == layout.QUOTE_LEG:
        return i64(_UNKNOWN_OPERATION)
    needed = _needed_permission(kind)
    if i64(durable_at(memory + DURABLE_BASE).lane[lane].permissions) & needed != needed:
        return i64(_NOT_PERMITTED)
    if kind == layout.PLACE:
        return apply_place(memory, account, address)
    if kind == layout.CANCEL:
        return apply_cancel(memory, account, address)
    if kind == layout.MASS_QUOTE:
        return apply_mass_quote(memory, account, address)
    if kind == layout.CANCEL_ALL:
        return apply_cancel_all(memory, account, address)
    if kind == layout.ORACLE_MARK:
        return apply_oracle_mark(memory, account, address)
    if kind == layout.ORACLE_INDEX:
        return apply_oracle_index(memory, account, address)
    if kind == layout.TRANSFER:
        return apply_transfer(memory, account, address)
    return apply_expire(memory, account, address)


@kernel_function
def apply_owner_operation(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at a native address, of a known kind; a Rejection."""
    kind = i64(owner_operation_at(address).kind)
    if kind == layout.WITHDRAW:
        return apply_withdraw(memory, account, address)
    if kind == layout.REGISTER_LANE:
        return apply_register_lane(memory, account, address)
    if kind == layout.REVOKE_LANE:
        return apply_revoke_lane(memory, account, address)
    if kind == layout.OWNER_TRANSFER:
        return apply_owner_transfer(memory, account, address)
    return apply_list_instrument(memory, account, address)


@kernel_function
def _count_outcome(memory: int, status: int) -> None:
    fold_outcome(memory, status)
    if status != _APPLIED:
        header = durable_at(memory + DURABLE_BASE).header
        header.rejection_count = i64(header.rejection_count) + 1


@kernel_function
def _count_records(memory: int, count: int) -> None:
    header = durable_at(memory + DURABLE_BASE).header
    header.operation_count = i64(header.operation_count) + count
    run = run_at(memory + SCRATCH_RUN_BASE)
    run.record_index = i64(run.record_index) + count


# --- messages --------------------------------------------------------------------------------


@kernel_function
def _apply_lane_records(memory: int, lane: int, address: int) -> None:
    account = i64(durable_at(memory + DURABLE_BASE).lane[lane].account)
    header = message_header_at(address)
    sequence = i64(header.sequence) & 0xFFFF_FFFF
    at = address + HEADER_BYTES
    end = address + message_bytes(address)
    while at < end:
        operation = operation_at(at)
        kind = i64(operation.kind)
        records = i64(1)
        if kind == layout.MASS_QUOTE:
            records += i64(operation.count)
        status = apply_operation(memory, lane, account, at)
        _count_outcome(memory, status)
        if status != _APPLIED:
            count_rejection(memory, lane)
        emit(
            memory,
            layout.EVENT_OUTCOME,
            kind,
            i64(operation.instrument),
            status,
            account,
            i64(operation.slot),
            lane,
            sequence,
            i64(operation.label),
        )
        _count_records(memory, records)
        at += records * RECORD_BYTES


@kernel_function
def _apply_owner_record(memory: int, account: int, address: int) -> None:
    sequence = i64(message_header_at(address).sequence) & 0xFFFF_FFFF
    at = address + HEADER_BYTES
    kind = i64(owner_operation_at(at).kind)
    status = apply_owner_operation(memory, account, at)
    _count_outcome(memory, status)
    emit(memory, layout.EVENT_OUTCOME, kind, 0, status, account, 0, 0, sequence, 0)
    _count_records(memory, i64(OWNER_RECORDS))


@kernel_function
def _apply_native_message(memory: int, address: int) -> int:
    refusal = check_native_message(memory, address)
    if refusal != _ACCEPTED:
        return refusal
    if i64(message_header_at(address).kind) == layout.LANE_MESSAGE:
        lane = accept_lane_message(memory, address)
        _apply_lane_records(memory, lane, address)
    else:
        account = accept_owner_message(memory, address)
        _apply_owner_record(memory, account, address)
    return i64(_ACCEPTED)


@entry_point("int64(int64, int64)")
def check_message(memory: int, address: int) -> int:
    """The acceptance rule for the message at a machine address; a Refusal, 0 when accepted.

    Judged at the time of the open block, or of the last one between blocks; writes no state.
    """
    return check_native_message(memory, memory + address)


@entry_point("int64(int64, int64)")
def apply_message(memory: int, address: int) -> int:
    """Apply the message at a machine address to the open block; a Refusal, 0 when accepted."""
    if i64(run_at(memory + SCRATCH_RUN_BASE).block_open) == 0:
        return i64(_NO_OPEN_BLOCK)
    return _apply_native_message(memory, memory + address)


# --- blocks ----------------------------------------------------------------------------------


@entry_point("int64(int64, int64, int64)")
def open_block(memory: int, time_ms: int, inbox_count: int) -> int:
    """Open the next block at `time_ms` and consume `inbox_count` inbox items; an Invalid code.

    The items lie at INBOX_ITEMS_BASE, the first of them being number PARAMS.inbox_first.
    """
    header = durable_at(memory + DURABLE_BASE).header
    run = run_at(memory + SCRATCH_RUN_BASE)
    if i64(run.block_open) != 0:
        return i64(_BLOCK_NUMBER)
    if time_ms < i64(header.last_time_ms) or time_ms >= MAX_TIME_MS:
        return i64(_BLOCK_TIME)
    status = check_inbox(memory, inbox_count)
    if status != _VALID:
        return status
    run.block_open = 1
    run.record_index = 0
    run.message_count = 0
    run.byte_count = 0
    run.first_withdrawal = i64(header.withdrawal_count)
    clear_words(memory + _DIGEST, 4)
    header.last_time_ms = time_ms
    consume_inbox(memory, inbox_count)
    return i64(_VALID)


@entry_point("int64(int64)")
def close_block(memory: int) -> int:
    """Seal the open block into the chain of headers; an Invalid code."""
    header = durable_at(memory + DURABLE_BASE).header
    run = run_at(memory + SCRATCH_RUN_BASE)
    if i64(run.block_open) == 0:
        return i64(_BLOCK_NUMBER)
    seal_header(memory)
    header.next_block = i64(header.next_block) + 1
    if i64(header.withdrawal_count) != i64(run.first_withdrawal):
        update_withdrawal_root(memory)
    run.block_open = 0
    run.message_count = 0
    run.byte_count = 0
    return i64(_VALID)


@kernel_function
def _apply_block_messages(memory: int, at: int, end: int, count: int) -> int:
    """Apply exactly `count` messages that fill the native range [at, end); an Invalid code."""
    for _ in range(count):
        if end - at < HEADER_BYTES or message_bytes(at) > end - at:
            return i64(_BAD_ENCODING)
        length = message_bytes(at)
        refusal = _apply_native_message(memory, at)
        if refusal == _BAD_SIGNATURE:
            return i64(_SIGNATURE)
        if refusal != _ACCEPTED:
            return i64(_MESSAGE)
        at += length
    if at != end:
        return i64(_BAD_ENCODING)
    return i64(_VALID)


@entry_point("int64(int64, int64)")
def apply_block(memory: int, address: int) -> int:
    """Apply the plain block at a machine address: open, messages, close; an Invalid code."""
    block = block_header_at(memory + address)
    byte_count = i64(block.byte_count)
    if i64(block.zero) != 0:
        return i64(_BAD_ENCODING)
    if byte_count > MAX_BLOCK_MESSAGE_BYTES:
        return i64(_TOO_LARGE)
    if i64(block.message_count) > layout.MAX_MESSAGES_PER_BLOCK:
        return i64(_TOO_LARGE)
    if i64(block.number) != i64(durable_at(memory + DURABLE_BASE).header.next_block):
        return i64(_BLOCK_NUMBER)
    status = open_block(memory, i64(block.time_ms), i64(block.inbox_count))
    if status != _VALID:
        return status
    first = memory + address + _BLOCK_HEADER_BYTES
    status = _apply_block_messages(memory, first, first + byte_count, i64(block.message_count))
    if status != _VALID:
        return status
    return close_block(memory)


# --- batches ---------------------------------------------------------------------------------


@kernel_function
def _check_params(memory: int) -> int:
    """What L1 fixed must fit this chain; anything else is an invalid record, not a crash."""
    params = params_at(memory + layout.PARAMS_BASE)
    if not words_equal(memory + _PARAMS_DOMAIN, memory + DOMAIN_ADDRESS):
        return i64(_BAD_PARAMS)
    if i64(params.data_kind) != 0:
        return i64(_BAD_PARAMS)
    if i64(params.data_bytes) < 0 or i64(params.data_bytes) > layout.BATCH_DATA_BYTES:
        return i64(_BAD_PARAMS)
    if i64(params.l1_time) < 0 or i64(params.l1_time) >= MAX_TIME_MS // 1000:
        return i64(_BAD_PARAMS)
    available = i64(params.inbox_count)
    if available < 0 or available > layout.MAX_INBOX_ITEMS_PER_BATCH:
        return i64(_BAD_PARAMS)
    return i64(_VALID)


@kernel_function
def _apply_next_block(memory: int, records: int) -> int:
    """Apply the decoded block; its count of records, or minus an Invalid code.

    `records` is what the batch carried so far, for the bound on the whole run.
    """
    block = block_header_at(memory + layout.SCRATCH_BLOCK_BASE)
    l1_time_ms = i64(params_at(memory + layout.PARAMS_BASE).l1_time) * 1000
    messages = i64(block.message_count)
    carried = (i64(block.byte_count) >> 5) - messages
    if records + carried > layout.MAX_OPERATIONS_PER_BATCH:
        return i64(-_TOO_LARGE)
    if i64(block.time_ms) > l1_time_ms + MAX_AHEAD_OF_L1_MS:
        return i64(-_BLOCK_TIME)
    status = apply_block(memory, i64(layout.SCRATCH_BLOCK_BASE))
    if status != _VALID:
        return -status
    return i64(run_at(memory + SCRATCH_RUN_BASE).record_index)


@kernel_function
def _check_lane_signatures(memory: int) -> int:
    """One signature per touched lane over its final tip, by its key at its first message."""
    capture_all_tips(memory)
    count = i64(run_at(memory + SCRATCH_RUN_BASE).touched_count)
    if signature_count(memory) != count:
        return i64(_SIGNATURE)
    for entry in range(count):
        touched = touched_address(memory, entry)
        signature = lane_signature(memory, entry)
        if not lane_tip_is_signed(memory, touched + TOUCHED_TIP, touched + TOUCHED_KEY, signature):
            return i64(_SIGNATURE)
    return i64(_VALID)


@kernel_function
def _apply_batch_blocks(memory: int) -> int:
    header = durable_at(memory + DURABLE_BASE).header
    first_block = i64(header.next_block)
    first_time = i64(0)
    records = i64(0)
    while True:
        more = next_block(memory)
        if more < 0:
            return -more
        if more == 0:
            break
        if i64(header.next_block) - first_block >= layout.MAX_BLOCKS_PER_BATCH:
            return i64(_TOO_LARGE)
        applied = _apply_next_block(memory, records)
        if applied < 0:
            return -applied
        records += applied
        if i64(header.next_block) == first_block + 1:
            first_time = i64(header.last_time_ms)
    if i64(header.next_block) == first_block:
        return i64(_EMPTY)
    status = _check_lane_signatures(memory)
    if status == _VALID:
        write_journal(memory, first_block, first_time, records)
    return status


@entry_point("int64(int64)")
def apply_batch(memory: int) -> int:
    """Apply the published batch in INPUT under PARAMS and write the JOURNAL; an Invalid code.

    JOURNAL and SCRATCH are zero when it starts.  An invalid batch leaves JOURNAL zero.
    """
    run = run_at(memory + SCRATCH_RUN_BASE)
    run.batch = 1
    status = _check_params(memory)
    if status == _VALID:
        status = open_decoder(memory)
    if status == _VALID:
        status = _apply_batch_blocks(memory)
    run.batch = 0
    return status
