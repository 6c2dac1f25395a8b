import pytest

from entresol.settlement.view import InconsistentL1Error, L1View

pytestmark = pytest.mark.l1


def test_a_reorg_takes_back_items_records_and_claims(world):
    view = world.view()
    world.user("alice").force_cancel_all(1)
    record = world.post()
    assert view.refresh() is None
    assert (len(view.items), len(view.records), len(view.claims)) == (1, 1, 0)
    world.propose(record)
    world.user("alice").force_cancel_all(2)
    view.refresh()
    assert (len(view.items), len(view.records), len(view.claims)) == (2, 1, 1)
    world.node.rpc("anvil_reorg", 3, [])
    assert view.refresh() is not None
    assert (len(view.items), len(view.records), len(view.claims)) == (1, 0, 0)
    assert view.head == world.client.head()
    again = world.post()
    view.refresh()
    assert view.records[0].record == again


def test_a_lying_node_is_noticed(world, monkeypatch):
    world.user("alice").force_cancel_all(1)
    world.post()
    read = world.client.events

    def omit(name):
        def events(*arguments):
            return [event for event in read(*arguments) if event.name != name]

        return events

    def twist(name, **changes):
        def events(*arguments):
            found = read(*arguments)
            for event in found:
                if event.name == name:
                    event.arguments.update(changes)
            return found

        return events

    for events, message in (
        (twist("ItemAppended", item=bytes(128)), "does not continue the chain"),
        (twist("RecordPosted", record_hash=bytes(32)), "does not match its hash"),
        (omit("RecordPosted"), "data without its record"),
    ):
        monkeypatch.setattr(world.client, "events", events)
        with pytest.raises(InconsistentL1Error, match=message):
            L1View(world.client, world.deployment).refresh()
