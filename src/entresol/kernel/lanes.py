"""Lanes: session keys, each with its own hash chain of messages, and the batch's list of them.

`tip' = keccak256(tip || message)`.  A registration number never repeats, so neither does a tip:
nothing said under an earlier registration, or on another rollup, can be said again.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_RUN_BASE
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, keccak256, kernel_function, load_u32, store_i64, store_u32
from entresol.kernel.views import (
    DOMAIN_ADDRESS,
    LANES_ADDRESS,
    durable_at,
    run_at,
    touched_lane_at,
)
from entresol.kernel.words import (
    OPERAND,
    clear_words,
    copy_address,
    copy_words,
    store_address_word,
)

LANES_PER_ACCOUNT: Final = 64
"""Keys one account may hold at once, so that no one account can fill the table."""

ALL_PERMISSIONS: Final = (
    layout.PERMISSION_TRADE | layout.PERMISSION_ORACLE | layout.PERMISSION_TRANSFER
)

LANE_BYTES: Final = layout.LANE.itemsize
LANE_TIP: Final = layout.LANE.fields["tip"][1]  # type: ignore[index]
LANE_KEY: Final = layout.LANE.fields["key"][1]  # type: ignore[index]
TOUCHED_BYTES: Final = layout.TOUCHED_LANE.itemsize
TOUCHED_KEY: Final = layout.TOUCHED_LANE.fields["key"][1]  # type: ignore[index]
TOUCHED_TIP: Final = layout.TOUCHED_LANE.fields["tip"][1]  # type: ignore[index]

_APPLIED: Final = int(Rejection.APPLIED)
_LANES_FULL: Final = int(Rejection.LANES_FULL)
_UNKNOWN_LANE: Final = int(Rejection.UNKNOWN_LANE)
_LANE_NOT_OWNED: Final = int(Rejection.LANE_NOT_OWNED)


@kernel_function
def lane_address(memory: int, lane: int) -> int:
    """Native address of a lane's record."""
    return memory + LANES_ADDRESS + lane * LANE_BYTES


@kernel_function
def touched_address(memory: int, entry: int) -> int:
    """Native address of an entry in the batch's list of touched lanes."""
    return memory + layout.SCRATCH_LANES_BASE + entry * TOUCHED_BYTES


@kernel_function
def write_initial_tip(memory: int, lane: int) -> None:
    """Start the chain of a lane whose key, account and registration are set.

    tip0 = keccak256(domain || key as a word || account || registration || version || 0), the
    last four as little-endian 64-bit words.
    """
    record = durable_at(memory + DURABLE_BASE).lane[lane]
    address = lane_address(memory, lane)
    operand = memory + OPERAND
    copy_words(operand, memory + DOMAIN_ADDRESS, 4)
    store_address_word(operand + 32, address + LANE_KEY)
    store_i64(operand + 64, i64(record.account))
    store_i64(operand + 72, i64(record.registration))
    store_i64(operand + 80, layout.ENCODING_VERSION)
    store_i64(operand + 88, 0)
    keccak256(operand, 96, address + LANE_TIP)


@kernel_function
def register_lane(memory: int, account: int, key: int, expires_ms: int, permissions: int) -> int:
    """Give a key (native address of its 20 raw bytes) a lane; the new lane, or 0 when full."""
    durable = durable_at(memory + DURABLE_BASE)
    header = durable.header
    if i64(durable.account[account].lane_count) >= LANES_PER_ACCOUNT:
        return i64(0)
    lane = i64(header.free_lane)
    if lane != 0:
        header.free_lane = i64(durable.lane[lane].next_free)
    else:
        lane = i64(header.lane_count)
        if lane >= layout.LANES:
            return i64(0)
        header.lane_count = lane + 1
    address = lane_address(memory, lane)
    clear_words(address, LANE_BYTES // 8)
    record = durable.lane[lane]
    copy_address(address + LANE_KEY, key)
    record.account = account
    record.registration = i64(header.next_registration)
    record.expires_ms = expires_ms
    record.permissions = permissions
    header.next_registration = i64(header.next_registration) + 1
    durable.account[account].lane_count = i64(durable.account[account].lane_count) + 1
    write_initial_tip(memory, lane)
    emit(memory, layout.EVENT_LANE_REGISTERED, 0, 0, _APPLIED, account, 0, 0, 0, lane)
    return lane


@kernel_function
def revoke_lane(memory: int, account: int, lane: int) -> int:
    """End one of the account's lanes; its record joins the free list."""
    durable = durable_at(memory + DURABLE_BASE)
    if lane <= 0 or lane >= layout.LANES:
        return i64(_UNKNOWN_LANE)
    record = durable.lane[lane]
    if i64(record.registration) == 0:
        return i64(_UNKNOWN_LANE)
    if i64(record.account) != account:
        return i64(_LANE_NOT_OWNED)
    capture_tip(memory, lane)
    clear_words(lane_address(memory, lane), LANE_BYTES // 8)
    record.next_free = i64(durable.header.free_lane)
    durable.header.free_lane = lane
    durable.account[account].lane_count = i64(durable.account[account].lane_count) - 1
    emit(memory, layout.EVENT_LANE_REVOKED, 0, 0, _APPLIED, account, 0, 0, 0, lane)
    return i64(_APPLIED)


@kernel_function
def _current_entry(memory: int, lane: int) -> int:
    """Entry of this lane's present registration in the list of touched lanes, or -1."""
    mark = load_u32(memory + layout.SCRATCH_LANE_MARKS_BASE + 4 * lane)
    if mark == 0:
        return i64(-1)
    touched = touched_lane_at(touched_address(memory, mark - 1))
    durable = durable_at(memory + DURABLE_BASE)
    if i64(touched.registration) != i64(durable.lane[lane].registration):
        return i64(-1)
    return mark - 1


@kernel_function
def note_lane(memory: int, lane: int) -> None:
    """In a batch, enter the lane into the list of touched lanes at its first message."""
    run = run_at(memory + SCRATCH_RUN_BASE)
    if i64(run.batch) == 0 or _current_entry(memory, lane) >= 0:
        return
    entry = i64(run.touched_count)
    run.touched_count = entry + 1
    address = touched_address(memory, entry)
    touched = touched_lane_at(address)
    touched.lane = lane
    touched.registration = i64(durable_at(memory + DURABLE_BASE).lane[lane].registration)
    copy_address(address + TOUCHED_KEY, lane_address(memory, lane) + LANE_KEY)
    store_u32(memory + layout.SCRATCH_LANE_MARKS_BASE + 4 * lane, entry + 1)


@kernel_function
def capture_tip(memory: int, lane: int) -> None:
    """Keep the tip that the batch's signature must cover, before the registration ends."""
    if i64(run_at(memory + SCRATCH_RUN_BASE).batch) == 0:
        return
    entry = _current_entry(memory, lane)
    if entry >= 0:
        tip = lane_address(memory, lane) + LANE_TIP
        copy_words(touched_address(memory, entry) + TOUCHED_TIP, tip, 4)


@kernel_function
def capture_all_tips(memory: int) -> None:
    """At the end of a batch, keep the tips of all touched lanes that are still registered."""
    count = i64(run_at(memory + SCRATCH_RUN_BASE).touched_count)
    for entry in range(count):
        capture_tip(memory, i64(touched_lane_at(touched_address(memory, entry)).lane))
