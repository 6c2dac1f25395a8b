"""CANCEL and CANCEL_ALL: by slot, of one's own orders only, from any place in a queue."""

import pytest
from tests.twin.pair import PERPETUAL, Pair

from entresol.kernel import layout
from entresol.kernel.operations.cancel import apply_cancel
from entresol.kernel.operations.cancel_all import apply_cancel_all
from entresol.kernel.rejections import Rejection

FIELDS = ["flags", "instrument", "count", "price", "quantity", "value", "account"]


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.list(PERPETUAL)
    pair.oracle_index(60_000 * 10**6)
    return pair


@pytest.mark.parametrize("field", FIELDS)
def test_only_the_slot_and_the_label_are_read(pair: Pair, field: str) -> None:
    for apply, kind in ((apply_cancel, layout.CANCEL), (apply_cancel_all, layout.CANCEL_ALL)):
        record = {"kind": kind, field: 1}
        assert pair.run_kernel(apply, 3, layout.OPERATION, **record) == Rejection.MALFORMED
        assert pair.run_kernel(apply, 3, layout.OPERATION, kind=kind, label=9) in (
            0,
            Rejection.SLOT_EMPTY,
        )


def test_cancel_all_takes_no_slot(pair: Pair) -> None:
    record = {"kind": layout.CANCEL_ALL, "slot": 3}
    assert pair.run_kernel(apply_cancel_all, 3, layout.OPERATION, **record) == Rejection.MALFORMED


@pytest.mark.parametrize("slot", [layout.SLOTS, layout.ANY_SLOT])
def test_there_are_slots_beyond_which_nothing_lives(pair: Pair, slot: int) -> None:
    assert pair.cancel(3, slot) == Rejection.SLOT_OUT_OF_RANGE


def test_others_orders_are_out_of_reach(pair: Pair) -> None:
    pair.place(3, 0, layout.BUY, 599_000, 1, slot=5)
    assert pair.cancel(4, 5) == Rejection.SLOT_EMPTY
    assert pair.cancel(3, 5) == Rejection.APPLIED
    assert pair.cancel(3, 5) == Rejection.SLOT_EMPTY
    pair.check()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_head_middle_and_tail_leave_a_queue_whole(pair: Pair, order: tuple[int, ...]) -> None:
    for slot in range(3):
        pair.place(3 + slot, 0, layout.SELL, 601_000, 1, slot=slot)
    for slot in order:
        assert pair.cancel(3 + slot, slot) == Rejection.APPLIED
        pair.check()


def test_cancelling_all_leaves_others_alone(pair: Pair) -> None:
    for row in range(40):
        pair.place(3, 0, row % 2, 600_000 + (row if row % 2 else -row - 1), 1, slot=row * 12)
        pair.place(4, 0, row % 2, 600_000 + (row if row % 2 else -row - 1), 1)
    assert pair.cancel_all(3) == Rejection.APPLIED
    pair.check()
    assert len(pair.twin.accounts[4].orders) == 40
    assert pair.cancel_all(3) == Rejection.APPLIED
    pair.check()
