import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.rollup.finality import (
    BlockStatus,
    FinalityError,
    Heads,
    RecordStatus,
    compute_heads,
)


def record(first: int, following: int, final: bool = False) -> RecordStatus:
    return RecordStatus(first_block=first, next_block=following, is_final=final)


def test_heads_follow_records_and_claims():
    records = [record(1, 5, True), record(5, 5, True), record(5, 9)]
    heads = compute_heads(1, 12, records)
    assert heads == Heads(unsafe=12, safe=9, finalized=5)
    expected = {4: 3, 5: 2, 8: 2, 9: 1, 11: 1, 12: 0}
    assert {block: heads.status(block) for block in expected} == expected
    assert heads.status(4) is BlockStatus.FINALIZED


def test_without_records_all_blocks_are_unsafe():
    assert compute_heads(1, 4, []) == Heads(unsafe=4, safe=1, finalized=1)


def test_a_node_behind_l1_has_no_unsafe_blocks():
    assert compute_heads(1, 2, [record(1, 8)]) == Heads(unsafe=8, safe=8, finalized=1)


@pytest.mark.parametrize(
    "records",
    [[record(2, 3)], [record(1, 3), record(4, 5)], [record(1, 0)], [record(1, 3), record(2, 5)]],
)
def test_gaps_and_overlaps_are_refused(records):
    with pytest.raises(FinalityError):
        compute_heads(1, 9, records)


def test_finality_comes_in_order():
    with pytest.raises(FinalityError):
        compute_heads(1, 9, [record(1, 3), record(3, 5, True)])
    with pytest.raises(FinalityError):
        Heads(unsafe=1, safe=2, finalized=0)


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 8), st.integers(0, 60))
def test_status_never_rises_with_the_block_number(lengths, final, following):
    records, position = [], 1
    for index, length in enumerate(lengths):
        records.append(record(position, position + length, index < final))
        position += length
    heads = compute_heads(1, following, records)
    found = [heads.status(block) for block in range(70)]
    assert found == sorted(found, reverse=True)
