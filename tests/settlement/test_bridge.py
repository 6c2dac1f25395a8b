import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto.merkle import AppendOnlyTree
from entresol.rollup.withdrawal import Withdrawal, root_of_path
from entresol.settlement.l1 import RevertError

pytestmark = pytest.mark.l1

LIMIT, WINDOW = 100_000_000, 1000
ANY_PROOF = [bytes(32)] * 32


def build_tree(world, amounts, recipient="bob", start=0):
    """A withdrawals tree paying `recipient` these amounts."""
    tree = AppendOnlyTree()
    withdrawals = []
    for index, amount in enumerate(amounts, start):
        withdrawal = Withdrawal(
            index=index, token=world.deployment.token, recipient=world.address(recipient),
            amount=amount,
        )  # fmt: skip
        tree.append(withdrawal.leaf(world.deployment.domain))
        withdrawals.append(withdrawal)
    return tree, withdrawals


def fund(world, amount):
    user = world.user("alice")
    user.mint(amount)
    user.deposit(amount)


def arguments(proposal, tree, withdrawal, **changes):
    values = {
        "claim": proposal.key, "index": withdrawal.index, "recipient": withdrawal.recipient,
        "amount": withdrawal.amount, "proof": tree.prove(withdrawal.index), **changes,
    }  # fmt: skip
    return tuple(values.values())


def test_deposit_moves_money_and_appends(world):
    fund(world, 5_000_000)
    bridge = world.deployment.bridge
    assert world.read("token", "balanceOf", bridge) == 5_000_000
    assert world.read("bridge", "net_deposits") == 5_000_000
    assert world.read("inbox", "count") == 1


def test_deposit_refusals(world):
    alice = world.address("alice")
    refused = world.refused
    assert (
        refused("alice", "bridge", "deposit", 999_999, alice, 0)
        == "bridge: below the minimum deposit"
    )
    assert refused("alice", "bridge", "deposit", 2**63, alice, 0) == "bridge: deposits are full"
    assert refused("alice", "bridge", "deposit", 10**6, bytes(20), 0) == "bridge: recipient"
    assert refused("alice", "bridge", "deposit", 10**6, alice, 0) == "token: allowance"


def test_withdraw_pays_once_and_only_what_was_proven(world):
    fund(world, 20_000_000)
    tree, withdrawals = build_tree(world, [1_000_000, 2_000_000, 3_000_000])
    claim = world.final_tree(tree)
    second = withdrawals[1]
    good = arguments(claim, tree, second)

    def refused(**changes):
        changed = arguments(claim, tree, second, **changes)
        return world.refused("bob", "bridge", "withdraw", *changed)

    assert refused(amount=2_000_001) == "bridge: proof"
    assert refused(index=2) == "bridge: proof"
    assert refused(recipient=world.address("alice")) == "bridge: proof"
    assert refused(proof=tree.prove(2)) == "bridge: proof"
    assert refused(index=1 + 2**32) == "bridge: index"
    assert refused(recipient=bytes(20)) == "bridge: recipient"
    assert refused(claim=bytes(32)) == "rollup: not final"

    user = world.user("rival")  # anyone may send it
    user.withdraw(*good)
    assert world.read("token", "balanceOf", world.address("bob")) == 2_000_000
    assert user.is_withdrawn(1) and not user.is_withdrawn(0)
    assert world.refused("bob", "bridge", "withdraw", *good) == "bridge: already withdrawn"
    assert world.read("bridge", "net_deposits") == 18_000_000


def test_a_pending_claim_pays_nothing(world):
    fund(world, 20_000_000)
    tree, withdrawals = build_tree(world, [1_000_000])
    claim = world.propose(world.post(), withdrawals_root=tree.root, withdrawals_count=1)
    refusal = world.refused("bob", "bridge", "withdraw", *arguments(claim, tree, withdrawals[0]))
    assert refusal == "rollup: not final"


def test_nothing_can_be_proven_against_the_genesis(world):
    key = world.deployment.genesis_key
    refusal = world.refused("bob", "bridge", "withdraw", key, 0, world.address("bob"), 1, ANY_PROOF)
    assert refusal == "bridge: proof"


def test_no_claim_pays_more_than_net_deposits(world):
    fund(world, 5_000_000)
    world.transact("bob", "token", "mint", world.deployment.bridge, 50_000_000)  # a gift
    tree, withdrawals = build_tree(world, [4_000_000, 1_000_001])
    claim = world.final_tree(tree)
    world.user("bob").withdraw(*arguments(claim, tree, withdrawals[0]))
    refusal = world.refused("bob", "bridge", "withdraw", *arguments(claim, tree, withdrawals[1]))
    assert refusal == "bridge: more than net deposits"


def test_outflow_limit_delays_and_loses_nothing(world):
    fund(world, 400_000_000)
    tree, withdrawals = build_tree(world, [60_000_000, 60_000_000, 150_000_000])
    claim = world.final_tree(tree)
    user = world.user("bob")
    user.withdraw(*arguments(claim, tree, withdrawals[0]))
    assert user.token_balance() == 60_000_000
    receipt = user.withdraw(*arguments(claim, tree, withdrawals[1]))
    now = world.client.block(receipt.block).time
    recipient, amount, payable_at = user.queued(1)
    # 20 of the bucket's 100 million are missing, and it refills in 1000 s.
    assert (recipient, amount) == (world.address("bob"), 60_000_000)
    assert 195 <= payable_at - now <= 200
    assert user.is_withdrawn(1) and user.token_balance() == 60_000_000
    assert world.refused("bob", "bridge", "release", 1) == "bridge: not payable yet"
    # More than a whole bucket: paid later than the others, never refused.
    receipt = user.withdraw(*arguments(claim, tree, withdrawals[2]))
    now = world.client.block(receipt.block).time
    queued = 60_000_000 + 60_000_000 + 150_000_000
    assert user.queued(2)[2] - now <= queued * WINDOW // LIMIT
    assert user.queued(2)[2] == payable_at + 1500
    assert user.queued(1)[2] == payable_at  # a later request moves nobody back

    world.pass_time(200)
    world.user("rival").release(1)
    assert user.token_balance() == 120_000_000
    assert world.refused("bob", "bridge", "release", 1) == "bridge: not queued"
    assert world.refused("bob", "bridge", "release", 2) == "bridge: not payable yet"
    world.pass_time(1501)
    user.release(2)
    assert user.token_balance() == 270_000_000
    assert world.read("bridge", "net_deposits") == 130_000_000
    assert world.read("bridge", "payable_at", LIMIT) > world.client.head().time
    world.pass_time(WINDOW + 1)
    assert world.read("bridge", "payable_at", LIMIT) <= world.client.head().time


def test_dust_does_not_leave_for_free(world):
    """Rounding is up: a thousand payments of one unit take a thousand seconds of the bucket."""
    fund(world, 1_000_000)
    tree, withdrawals = build_tree(world, [1, 1])
    claim = world.final_tree(tree)
    before = world.read("bridge", "payable_at", LIMIT)
    receipt = world.user("bob").withdraw(*arguments(claim, tree, withdrawals[0]))
    now = world.client.block(receipt.block).time
    assert before <= now
    assert world.read("bridge", "payable_at", LIMIT) == now + 1


@settings(max_examples=6, deadline=None)
@given(
    amounts=st.lists(st.integers(1, 30_000_000), min_size=1, max_size=9),
    seed=st.randoms(use_true_random=False),
)
def test_conservation_for_any_withdrawals(shared_world, amounts, seed):
    """What came in equals what is held plus what was paid, in any order of withdrawing."""
    world = type(shared_world)(
        node=shared_world.node, client=shared_world.client, deployment=shared_world.deployment
    )
    snapshot = world.node.rpc("evm_snapshot")
    try:
        fund(world, 60_000_000)
        tree, withdrawals = build_tree(world, amounts)
        claim = world.final_tree(tree)
        user = world.user("bob")
        held, paid, queued = 60_000_000, 0, {}
        seed.shuffle(withdrawals)
        for withdrawal in withdrawals:
            path = tree.prove(withdrawal.index)
            leaf = withdrawal.leaf(world.deployment.domain)
            assert root_of_path(leaf, withdrawal.index, path) == tree.root
            if withdrawal.amount > held - paid - sum(queued.values()):
                with pytest.raises(RevertError, match="bridge: more than net deposits"):
                    user.withdraw(*arguments(claim, tree, withdrawal))
                continue
            user.withdraw(*arguments(claim, tree, withdrawal))
            if user.queued(withdrawal.index) is None:
                paid += withdrawal.amount
            else:
                queued[withdrawal.index] = withdrawal.amount
            assert user.token_balance() == paid
            assert user.token_balance(world.deployment.bridge) == held - paid
            assert world.read("bridge", "net_deposits") == held - paid - sum(queued.values())
        world.pass_time(10 * WINDOW)
        for index in queued:
            user.release(index)
        assert user.token_balance() == paid + sum(queued.values())
    finally:
        world.node.rpc("evm_revert", snapshot)
