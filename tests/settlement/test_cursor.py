import pytest

from entresol.settlement import cursor
from entresol.settlement.cursor import EventCursor
from entresol.settlement.l1 import L1Client, L1UnavailableError

pytestmark = pytest.mark.l1


def start(world, **options):
    deployment = world.deployment
    contracts = [deployment.contract("inbox"), deployment.contract("rollup")]
    return EventCursor(world.client, contracts, first_block=deployment.block, **options)


def forced(world, *subaccounts):
    for subaccount in subaccounts:
        world.transact("alice", "inbox", "force_cancel_all", subaccount)


def test_each_event_is_delivered_once(world):
    reader = start(world)
    assert reader.advance().events == ()
    forced(world, 1, 2)
    first = reader.advance()
    assert [event.arguments["position"] for event in first.events] == [0, 1]
    assert first.keep is None
    assert reader.advance().events == ()
    forced(world, 3)
    assert [event.arguments["position"] for event in reader.advance().events] == [2]


def test_a_reorg_is_undone_from_the_last_common_block(world):
    reader = start(world)
    forced(world, 1)
    reader.advance()
    common = world.client.head().number
    forced(world, 2, 3)
    reader.advance()
    world.node.rpc("anvil_reorg", 2, [])
    step = reader.advance()
    assert step.keep == common
    assert step.events == ()
    forced(world, 4)
    step = reader.advance()
    assert (step.keep, len(step.events)) == (None, 1)
    assert step.events[0].arguments["position"] == 1


def test_a_reorg_deeper_than_the_memory_starts_over(world):
    reader = start(world)
    forced(world, 1, 2, 3)
    reader.advance()
    world.node.rpc("anvil_reorg", 3, [])
    step = reader.advance()
    assert step.keep == world.deployment.block - 1
    assert step.events == ()


def test_a_shorter_chain_is_a_reorg(world):
    """The node came back from an older snapshot of its database."""
    reader = start(world)
    forced(world, 1)
    reader.advance()
    snapshot = world.node.rpc("evm_snapshot")
    common = world.client.head().number
    forced(world, 2)
    reader.advance()
    world.node.rpc("evm_revert", snapshot)
    step = reader.advance()
    assert (step.keep, step.events) == (common, ())


def test_a_reorg_during_the_read_is_noticed(world, monkeypatch):
    reader = start(world)
    reader.advance()
    forced(world, 1)
    read = world.client.events
    reads = []

    def reorg_after(contracts, first, last):
        found = read(contracts, first, last)
        reads.append((first, last))
        if len(reads) == 1:
            world.node.rpc("anvil_reorg", 1, [])
        return found

    monkeypatch.setattr(world.client, "events", reorg_after)
    step = reader.advance()
    assert len(reads) == 2
    assert step.events == ()
    assert world.read("inbox", "count") == 0


def test_confirmations_hold_back_young_blocks(world):
    reader = start(world, confirmations=2)
    forced(world, 1)
    assert reader.advance().events == ()
    world.node.rpc("anvil_mine", hex(2))
    assert len(reader.advance().events) == 1


def test_long_histories_are_read_in_ranges(world, monkeypatch):
    forced(world, 1)
    world.node.rpc("anvil_mine", hex(41))
    forced(world, 2)
    ranges = []
    read = world.client.events

    def record(contracts, first, last):
        ranges.append(last - first + 1)
        return read(contracts, first, last)

    monkeypatch.setattr(world.client, "events", record)
    monkeypatch.setattr(cursor, "LOG_RANGE_BLOCKS", 20)
    assert len(start(world).advance().events) == 2
    assert ranges[:2] == [20, 20] and len(ranges) == 3


def test_a_node_that_is_away_says_so():
    client = L1Client("http://127.0.0.1:9")
    with pytest.raises(L1UnavailableError, match="not reachable"):
        client.head()
