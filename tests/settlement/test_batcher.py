import threading
import time
from dataclasses import replace

import pytest

from entresol.da.blobs import pack
from entresol.rollup.limits import BLOB_DATA_BYTES
from entresol.settlement import batcher as batcher_module
from entresol.settlement.anvil import Anvil
from entresol.settlement.batcher import (
    Batcher,
    BatcherError,
    BatcherStatus,
    ForeignRecordError,
    InboxChangedError,
)
from entresol.settlement.l1 import L1Client, L1UnavailableError
from entresol.settlement.sender import BalanceLowError, FeePolicy, Sender
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1

FIRST, SECOND, THIRD = b"first" * 100, b"second" * 99, b"third" * 98


@pytest.fixture
def make(world, quick_prove, tmp_path):
    """A batcher started afresh: only the sender's file and the chain carry over."""

    def build(source, *, policy=None, client=None, **options):
        client = world.client if client is None else client
        sender = Sender(
            client, world.secret("sequencer"), state=tmp_path / "batcher.json", policy=policy
        )
        view = L1View(client, world.deployment)
        return Batcher(view, sender, source, pack=pack, prove=quick_prove, **options)

    return build


def run_until_idle(batcher, limit=200):
    for _ in range(limit):
        if batcher.step() is BatcherStatus.IDLE:
            return
    raise AssertionError("the batcher does not come to rest")


def check_posted(world, source):
    """Every batch is on L1 once, in order."""
    posted = world.view().records
    assert [entry.record.index for entry in posted] == list(range(len(source.batches)))
    assert [entry.record.data_bytes for entry in posted] == [len(b.data) for b in source.batches]
    return posted


def test_batches_are_posted_in_order_and_once(world, make, batches, quick_prove):
    source = batches(FIRST, SECOND)
    batcher = make(source)
    run_until_idle(batcher)
    posted = check_posted(world, source)
    hashes = [quick_prove(pack(b.data)).versioned_hashes for b in source.batches]
    assert [entry.record.blob_hashes for entry in posted] == hashes
    source.batches += batches(FIRST, SECOND, THIRD).batches[2:]
    run_until_idle(batcher)
    check_posted(world, source)
    assert world.client.nonce(batcher.sender.address) - 4 == 3


def test_large_batches_take_several_blobs(world, make, batches):
    source = batches(bytes(range(256)) * (BLOB_DATA_BYTES // 256 + 1))
    run_until_idle(make(source))
    assert len(check_posted(world, source)[0].record.blob_hashes) == 2


def test_calldata_instead_of_blobs(world, make, batches):
    source = batches(FIRST, SECOND)
    run_until_idle(make(source, use_calldata=True))
    assert [entry.data for entry in check_posted(world, source)] == [FIRST, SECOND]
    run_until_idle(make(source))  # verified against calldata even when blobs are configured


def test_a_restart_after_every_step_changes_nothing(world, make, batches):
    source = batches(FIRST, SECOND, THIRD)
    world.node.rpc("evm_setAutomine", False)
    for number in range(60):
        if make(source).step() is BatcherStatus.IDLE:
            break
        if number % 2:
            world.node.rpc("evm_mine")
    check_posted(world, source)


def test_what_a_reorg_takes_back_is_posted_again(world, make, batches):
    source = batches(FIRST, SECOND, THIRD)
    batcher = make(source)
    run_until_idle(batcher)
    before = check_posted(world, source)
    world.node.rpc("anvil_reorg", 2, [])
    assert len(world.view().records) == 1
    run_until_idle(batcher)
    after = check_posted(world, source)
    assert after[0] == before[0]
    assert after[1].record != before[1].record
    assert [a.record.blob_hashes for a in after] == [b.record.blob_hashes for b in before]


def test_a_reorg_with_a_transaction_in_flight(world, make, batches):
    source = batches(FIRST, SECOND)
    batcher = make(source)
    while len(world.view().records) < 1:
        batcher.step()
    world.node.rpc("evm_setAutomine", False)
    assert batcher.step() is BatcherStatus.SENDING
    world.node.rpc("evm_setAutomine", True)
    world.node.rpc("anvil_reorg", 1, [])
    run_until_idle(batcher)
    check_posted(world, source)


def test_fees_rise_above_the_first_offer(world, make, batches):
    source = batches(FIRST)
    world.node.rpc("evm_setAutomine", False)
    batcher = make(source, policy=FeePolicy(patience_blocks=2))
    batcher.step()
    high = 5 * batcher.sender.pending.fees.gas
    for _ in range(20):
        world.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(high))
        world.node.rpc("evm_mine")
        if batcher.step() is BatcherStatus.POSTED:
            break
    check_posted(world, source)


def test_fees_above_the_cap_are_waited_for(world, make, batches):
    source = batches(FIRST)
    assert make(source, policy=FeePolicy(gas_cap=10)).step() is BatcherStatus.WAITING
    run_until_idle(make(source))


def test_a_low_balance_stops_with_a_clear_message(world, make, batches):
    source = batches(FIRST, SECOND)
    batcher = make(source)
    while len(world.view().records) < 1:
        batcher.step()
    address = "0x" + world.address("sequencer").hex()
    world.node.rpc("anvil_setBalance", address, hex(10**12))
    nonce = world.client.nonce(world.address("sequencer"))
    with pytest.raises(BalanceLowError, match="send it ETH and start again"):
        run_until_idle(batcher)
    with pytest.raises(BalanceLowError):
        batcher.run(threading.Event())
    assert world.client.nonce(world.address("sequencer")) == nonce
    world.node.rpc("anvil_setBalance", address, hex(10**19))
    run_until_idle(make(source))
    check_posted(world, source)


def test_a_batch_ahead_of_l1_waits(world, make, batches):
    source = batches(FIRST)
    ahead = (world.client.pending_time() + 600) * 1000
    source.batches[0] = replace(source.batches[0], last_time_ms=ahead)
    batcher = make(source)
    assert batcher.step() is BatcherStatus.WAITING
    assert batcher.sender.pending is None
    world.pass_time(600)
    run_until_idle(batcher)
    check_posted(world, source)


def test_a_batch_on_deposits_that_a_reorg_changed_is_not_posted(world, make, batches):
    world.user("alice").force_cancel_all(1)
    consumed = world.view().inbox_hash(1)
    source = batches(FIRST)
    source.batches[0] = replace(source.batches[0], inbox_position=1, inbox_hash=consumed)
    world.node.rpc("anvil_reorg", 1, [])
    for _ in range(2):
        with pytest.raises(InboxChangedError, match="roll the node back"):
            make(source).step()
        world.user("bob").force_cancel_all(1)  # another item in its place does not help
    assert world.view().records == []


def test_a_foreign_record_stops_the_batcher(world, make, batches):
    world.post(b"somebody else's")
    source = batches(FIRST)
    for options in ({}, {"use_calldata": True}):
        with pytest.raises(ForeignRecordError, match="is not this node's batch"):
            make(source, **options).step()
    with pytest.raises(ForeignRecordError):
        make(batches()).step()


def test_final_records_need_no_batch_any_more(world, make, batches):
    claim = world.propose(world.post(b"long ago"))
    source = batches(FIRST, SECOND)
    source.batches[0] = None
    with pytest.raises(ForeignRecordError):
        make(source).step()
    world.pass_time(61)
    world.finalise(claim)
    run_until_idle(make(source))
    assert [e.record.data_bytes for e in world.view().records] == [8, len(SECOND)]


def test_a_source_that_miscounts_is_an_error(world, make, batches):
    source = batches(FIRST)
    source.batches[0] = replace(source.batches[0], index=3)
    with pytest.raises(BatcherError, match="gave batch 3 for 0"):
        make(source).step()


def test_what_can_never_be_posted_is_an_error(world, make, batches):
    with pytest.raises(BatcherError, match="too long for calldata"):
        make(batches(bytes(130_000)), use_calldata=True).step()


def test_repeated_failure_stops_the_batcher(world, make, batches, monkeypatch):
    """Too little gas: the simulation passes, the transaction fails, three times and no more."""
    monkeypatch.setattr(batcher_module, "POST_BLOBS_GAS", 60_000)
    nonce = world.client.nonce(world.address("sequencer"))
    with pytest.raises(BatcherError, match="failed 3 times"):
        run_until_idle(make(batches(FIRST)))
    assert world.client.nonce(world.address("sequencer")) == nonce + 3


def test_a_foreign_sequencer_is_refused_by_simulation(world, make, batches):
    batcher = make(batches(FIRST))
    batcher.sender = Sender(world.client, world.secret("rival"))
    with pytest.raises(BatcherError, match="rollup: not the sequencer"):
        batcher.step()
    assert batcher.sender.pending is None


def await_saved(path, since):
    """Wait until the node has written its state after `since` (it does so every second)."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_mtime_ns > since and path.stat().st_size):
        if time.monotonic() > deadline:
            raise AssertionError("the node did not write its state")
        time.sleep(0.02)


def test_a_node_that_is_killed_and_restarted(tmp_path, start_world, quick_prove, batches):
    """kill -9 loses what the node had not written: to the batcher that is a deep reorg."""
    state = tmp_path / "l1.json"
    node = Anvil(state=state, state_interval=1).start()
    try:
        world = start_world(node)
        source = batches(FIRST)
        client = L1Client(node.url)
        sender = Sender(client, world.secret("sequencer"), state=tmp_path / "batcher.json")
        view = L1View(client, world.deployment)
        batcher = Batcher(view, sender, source, pack=pack, prove=quick_prove)
        run_until_idle(batcher)
        await_saved(state, time.time_ns())
        source.batches = batches(FIRST, SECOND).batches
        run_until_idle(batcher)
        source.batches = batches(FIRST, SECOND, THIRD).batches
        node.rpc("evm_setAutomine", False)
        assert batcher.step() is BatcherStatus.SENDING
        node.kill()
        with pytest.raises(L1UnavailableError):
            batcher.step()

        stop = threading.Event()
        worker = threading.Thread(target=batcher.run, args=(stop, 0.02))
        worker.start()
        try:
            node.start()
            deadline = time.monotonic() + 60
            while len(world.view().records) < 3 and time.monotonic() < deadline:
                stop.wait(0.02)
        finally:
            stop.set()
            worker.join()
        check_posted(world, source)
    finally:
        node.stop()
