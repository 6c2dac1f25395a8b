import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.kernel import layout
from entresol.rollup.inbox import InboxItem, decode_item, hash_items

pytestmark = pytest.mark.l1

MAX_AMOUNT = 2**63 - 1


def test_items_are_the_records_of_the_layout(world):
    alice, bob = world.address("alice"), world.address("bob")
    user = world.user("alice")
    user.mint(10_000_000)
    receipts = [
        user.deposit(3_000_000, bob, 0xABCD),
        user.force_withdraw(bob, 0x0102, MAX_AMOUNT),
        user.force_cancel_all(7),
        user.force_revoke_lane(0xFFFF, 0xFEDCBA98),
    ]
    view = world.view()
    times = [world.client.block(receipt.block).time for receipt in receipts]
    expected = [
        InboxItem(
            kind=layout.INBOX_DEPOSIT, sender=alice, recipient=bob, subaccount=0xABCD,
            amount=3_000_000, l1_block=receipts[0].block, l1_time=times[0], position=0,
        ),
        InboxItem(
            kind=layout.INBOX_WITHDRAW, sender=alice, recipient=bob, subaccount=0x0102,
            amount=MAX_AMOUNT, l1_block=receipts[1].block, l1_time=times[1], position=1,
        ),
        InboxItem(
            kind=layout.INBOX_CANCEL_ALL, sender=alice, subaccount=7,
            l1_block=receipts[2].block, l1_time=times[2], position=2,
        ),
        InboxItem(
            kind=layout.INBOX_REVOKE_LANE, sender=alice, subaccount=0xFFFF, lane=0xFEDCBA98,
            l1_block=receipts[3].block, l1_time=times[3], position=3,
        ),
    ]  # fmt: skip
    items = [entry.item for entry in view.items]
    assert [decode_item(item) for item in items] == expected
    for position in range(5):
        stored = world.read("inbox", "chain_hash_at", position)
        assert stored == hash_items(items[:position])
    assert [world.read("inbox", "time_of", position) for position in range(4)] == times
    assert world.read("inbox", "count") == 4


@settings(max_examples=12, deadline=None)
@given(
    operations=st.lists(
        st.one_of(
            st.tuples(
                st.just("force_withdraw"),
                st.binary(min_size=20, max_size=20).filter(any),
                st.integers(0, 2**16 - 1),
                st.integers(1, MAX_AMOUNT),
            ),
            st.tuples(st.just("force_cancel_all"), st.integers(0, 2**16 - 1)),
            st.tuples(
                st.just("force_revoke_lane"),
                st.integers(0, 2**16 - 1),
                st.integers(0, 2**32 - 1),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_forced_items_match_the_python_twin(shared_world, operations):
    world = type(shared_world)(
        node=shared_world.node, client=shared_world.client, deployment=shared_world.deployment
    )
    snapshot = world.node.rpc("evm_snapshot")
    try:
        for function, *arguments in operations:
            world.transact("bob", "inbox", function, *arguments)
        items = [entry.item for entry in world.view().items]
        for position, (item, (function, *arguments)) in enumerate(
            zip(items, operations, strict=True)
        ):
            decoded = decode_item(item)
            assert decoded.encode() == item
            assert (decoded.position, decoded.sender) == (position, world.address("bob"))
            match function:
                case "force_withdraw":
                    found = (decoded.recipient, decoded.subaccount, decoded.amount)
                case "force_cancel_all":
                    found = (decoded.subaccount,)
                case _:
                    found = (decoded.subaccount, decoded.lane)
            assert found == tuple(arguments)
        assert world.read("inbox", "chain_hash_at", len(items)) == hash_items(items)
    finally:
        world.node.rpc("evm_revert", snapshot)


def test_every_refusal(world):
    alice, nobody = world.address("alice"), bytes(20)
    refused = world.refused
    deposit = ("alice", "inbox", "append_deposit", alice, alice, 0, 5)
    assert refused(*deposit) == "inbox: not the bridge"
    assert refused("alice", "inbox", "force_withdraw", nobody, 0, 5) == "inbox: recipient"
    assert refused("alice", "inbox", "force_withdraw", alice, 0, 0) == "inbox: amount"
    too_much = MAX_AMOUNT + 1
    assert refused("alice", "inbox", "force_withdraw", alice, 0, too_much) == "inbox: amount"
    with pytest.raises(Exception, match="inbox: no such item"):
        world.read("inbox", "time_of", 0)


def test_the_bridge_itself_is_held_to_the_rules(world):
    bridge = world.deployment.bridge
    inbox = world.deployment.contract("inbox")

    def refused(*arguments):
        with pytest.raises(Exception) as caught:
            world.client.simulate(inbox, "append_deposit", *arguments, sender=bridge)
        return caught.value.message

    alice = world.address("alice")
    assert refused(alice, bytes(20), 0, 5) == "inbox: recipient"
    assert refused(alice, alice, 0, 0) == "inbox: amount"
    assert refused(alice, alice, 0, MAX_AMOUNT + 1) == "inbox: amount"


def test_intake_is_capped_per_block_and_kind(world):
    """Transactions that share one block: four forced items fit, the fifth does not."""
    world.user("bob").mint(100_000_000)
    world.transact("bob", "token", "approve", world.deployment.bridge, 100_000_000)
    inbox, bridge = (world.deployment.contract(name) for name in ("inbox", "bridge"))
    alice, bob = world.address("alice"), world.address("bob")
    forced = inbox.encode("force_cancel_all", 1)
    deposit = bridge.encode("deposit", 1_000_000, bob, 0)
    node = world.node
    node.rpc("anvil_impersonateAccount", "0x" + alice.hex())
    node.rpc("anvil_impersonateAccount", "0x" + bob.hex())
    node.rpc("evm_setAutomine", False)
    try:
        sent = [(alice, inbox.address, forced)] * 5 + [(bob, bridge.address, deposit)] * 9
        hashes = [
            node.rpc(
                "eth_sendTransaction",
                {
                    "from": "0x" + sender.hex(), "to": "0x" + to.hex(),
                    "data": "0x" + data.hex(), "gas": hex(400_000),
                },
            )
            for sender, to, data in sent
        ]  # fmt: skip
        node.rpc("evm_mine")
    finally:
        node.rpc("evm_setAutomine", True)
        node.rpc("anvil_stopImpersonatingAccount", "0x" + alice.hex())
        node.rpc("anvil_stopImpersonatingAccount", "0x" + bob.hex())
    receipts = [world.client.receipt(bytes.fromhex(text[2:])) for text in hashes]
    assert len({receipt.block for receipt in receipts}) == 1
    assert [r.succeeded for r in receipts[:5]] == [True] * 4 + [False]
    assert [r.succeeded for r in receipts[5:]] == [True] * 8 + [False]
    assert world.read("inbox", "count") == 12
    world.transact("alice", "inbox", "force_cancel_all", 1)
