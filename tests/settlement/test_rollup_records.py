import pytest

from entresol.da import calldata
from entresol.rollup.limits import BLOB_DATA_BYTES, MAX_CALLDATA_BATCH_BYTES
from entresol.settlement import records
from entresol.settlement.records import BLOBS, CALLDATA, DataRecord

pytestmark = pytest.mark.l1

NO_HASH = bytes(32)
LENGTH = 251 * 700
DELAY, WINDOW = 43_200, 60


def test_blobs_become_a_record(world, sidecars):
    user = world.user("alice")
    user.force_cancel_all(1)
    user.force_cancel_all(2)
    view = world.view()
    receipt = world.transact(
        "sequencer", "rollup", "post_blobs", 0, LENGTH, 1, view.inbox_hash(1), 0,
        sidecar=sidecars[2],
    )  # fmt: skip
    posted = world.view().records
    expected = DataRecord(
        index=0, source=BLOBS, data_kind=0, data_bytes=LENGTH,
        blob_hashes=sidecars[2].versioned_hashes, chunk_root=NO_HASH, l1_block=receipt.block,
        l1_time=world.client.block(receipt.block).time, inbox_position=2,
        inbox_hash=view.inbox_hash(2), poster=world.address("sequencer"),
    )  # fmt: skip
    assert [entry.record for entry in posted] == [expected]
    assert posted[0].data is None
    assert world.read("rollup", "record_hash", 0) == expected.digest
    assert world.read("rollup", "record_count") == 1


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 5000, MAX_CALLDATA_BATCH_BYTES])
def test_calldata_becomes_a_record(world, length):
    data = bytes(i * 7 % 251 + 1 for i in range(length))
    world.transact("sequencer", "rollup", "post_calldata", 0, data, 0, NO_HASH, 0, gas=8_000_000)
    (posted,) = world.view().records
    assert posted.data == data
    assert posted.record.source == CALLDATA
    assert posted.record.data_bytes == length
    assert posted.record.chunk_root == calldata.chunk_root(data) == records.chunk_root(data)
    assert world.read("rollup", "record_hash", 0) == posted.record.digest


def test_records_come_in_order_and_once(world):
    assert world.post(b"first").index == 0
    for index in (0, 2):
        arguments = (index, b"second", 0, NO_HASH, 0)
        refusal = world.refused("sequencer", "rollup", "post_calldata", *arguments)
        assert refusal == "rollup: record index"
    assert world.post(b"second").index == 1


def test_blob_refusals(world, sidecars):
    one, two = sidecars[1].versioned_hashes, sidecars[2].versioned_hashes
    size = BLOB_DATA_BYTES

    def refused(length, hashes):
        return world.refused(
            "sequencer", "rollup", "post_blobs", 0, length, 0, NO_HASH, 0, versioned_hashes=hashes
        )

    assert refused(1, ()) == "rollup: no blobs"
    assert refused(0, one) == "rollup: unused blob"
    assert refused(size, two) == "rollup: unused blob"
    assert refused(size + 1, one) == "rollup: data length"
    assert refused(2 * size + 1, two) == "rollup: data length"


def test_batch_refusals(world):
    world.user("alice").force_cancel_all(1)
    head = world.client.head().time

    def refused(index=0, data=b"x", position=0, chain_hash=NO_HASH, time_ms=0, by="sequencer"):
        arguments = (index, data, position, chain_hash, time_ms)
        return world.refused(by, "rollup", "post_calldata", *arguments)

    assert refused(data=b"") == "rollup: no data"
    assert refused(by="rival") == "rollup: not the sequencer"
    assert refused(index=1) == "rollup: record index"
    assert refused(position=2) == "rollup: inbox position"
    assert refused(position=1) == "rollup: inbox hash"
    assert refused(chain_hash=b"\1" * 32) == "rollup: inbox hash"
    assert refused(time_ms=(head + 1000) * 1000) == "rollup: ahead of L1"


def test_a_batch_may_be_twelve_seconds_ahead(world):
    time = world.client.head().time + 100
    world.node.rpc("evm_setNextBlockTimestamp", time)
    arguments = (0, b"x", 0, NO_HASH, (time + 12) * 1000)
    world.transact("sequencer", "rollup", "post_calldata", *arguments)
    assert world.view().records[0].record.l1_time == time


def test_anyone_may_post_when_the_sequencer_is_silent(world):
    world.post(b"alive")
    assert not world.read("rollup", "posting_is_open")
    world.pass_time(DELAY + 1)
    assert world.read("rollup", "posting_is_open")
    assert world.post(b"by a rival", "rival").poster == world.address("rival")
    # A stranger's record does not close the door again, the sequencer's own does.
    assert world.read("rollup", "posting_is_open")
    world.post(b"back")
    assert not world.read("rollup", "posting_is_open")


def test_anyone_may_post_when_the_inbox_is_ignored(world):
    world.user("alice").force_cancel_all(1)
    for _ in range(2):
        world.pass_time(DELAY // 2 + WINDOW - 100)
        world.post(b"the sequencer posts on")
        assert not world.read("rollup", "posting_is_open")
    world.pass_time(300)
    assert world.read("rollup", "posting_is_open")


def test_posting_closes_when_the_item_is_final(world):
    world.user("alice").force_cancel_all(1)
    view = world.view()
    claim = world.propose(world.post(), inbox_position=1, inbox_hash=view.inbox_hash(1))
    world.pass_time(DELAY + 2 * WINDOW + 2)
    world.post()
    assert world.read("rollup", "posting_is_open")
    world.finalise(claim)
    assert not world.read("rollup", "posting_is_open")
    assert world.read("rollup", "final_inbox_position") == 1
