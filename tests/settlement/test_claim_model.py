"""Random proposals, verdicts and finality against a plain model of the rollup's rules."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.settlement.l1 import RevertError
from entresol.settlement.view import PostedClaim

pytestmark = pytest.mark.l1

WINDOW, RECORDS = 60, 3
NAMES = ("proposer", "rival", "alice")
ROOTS = [bytes([0, 0, 0, number]) * 8 for number in range(1, 5)]


@dataclass
class Node:
    parent: int
    depth: int
    root: int
    proposer: str
    claim: PostedClaim | None
    dead: bool = False
    final: bool = False


class Model:
    """The rules once more, over a list of nodes; node 0 is the genesis."""

    def __init__(self):
        self.nodes = [Node(parent=-1, depth=0, root=0, proposer="", claim=None, final=True)]
        self.deadlines, self.credit = {}, dict.fromkeys(NAMES, 0)
        self.head = 0

    def children(self, parent):
        return [node for node in self.nodes[1:] if node.parent == parent]

    def living(self, parent):
        return sum(1 for node in self.children(parent) if not node.dead)

    def propose(self, parent, root, now):
        if self.nodes[parent].dead:
            return "rollup: dead parent"
        if any(node.root == root for node in self.children(parent)):
            return "rollup: claim exists"
        if now > self.deadlines.get(parent, now):
            return "rollup: too late for a sibling"
        return None

    def finalise(self, number, now):
        node = self.nodes[number]
        if node.parent != self.head:
            return "rollup: parent is not the final head"
        if node.dead:
            return "rollup: dead claim"
        if now <= self.deadlines[node.parent]:
            return "rollup: window is open"
        return None if self.living(node.parent) == 1 else "rollup: sibling lives"

    def cancel(self, loser, winner):
        if loser == winner:
            return "rollup: winner is the loser"
        if self.nodes[winner].parent != self.nodes[loser].parent:
            return "rollup: winner is not a sibling"
        if self.nodes[loser].dead:
            return "rollup: dead claim"
        return "rollup: dead winner" if self.nodes[winner].dead else None

    def discard(self, number):
        if not self.nodes[self.nodes[number].parent].dead:
            return "rollup: parent lives"
        return "rollup: dead claim" if self.nodes[number].dead else None


class Run:
    """One random run: every action is asked of the model and of the contract."""

    def __init__(self, world):
        self.world, self.model = world, Model()
        self.records = [world.post(bytes([number + 1])) for number in range(RECORDS)]
        self.bond = world.deployment.parameters.bond

    def agree(self, expected, name, function, *arguments, value=0):
        """Did both accept?  Fails when they differ; `expected` gives a reason for a time."""
        early = self.world.client.pending_time()
        contract = self.world.deployment.contract("rollup")
        sender = self.world.address(name)
        found = None
        try:
            self.world.client.simulate(contract, function, *arguments, sender=sender, value=value)
        except RevertError as error:
            found = error.message
        # The clock may tick between the two questions.
        late = self.world.client.pending_time()
        assert found in (expected(early), expected(late))
        if found is None:
            self.world.transact(name, "rollup", function, *arguments, value=value)
        return found is None

    def propose(self, place, root, name):
        parent = place % len(self.model.nodes)
        node = self.model.nodes[parent]
        if node.depth == RECORDS:
            return
        key = self.world.deployment.genesis_key if parent == 0 else node.claim.key
        arguments = self.world.claim_arguments(
            self.records[node.depth], key, roots=(ROOTS[root], ROOTS[root])
        )

        def expected(now):
            return self.model.propose(parent, root, now)

        if self.agree(expected, name, "propose", *arguments, value=self.bond):
            claim = self.world.view().claims[-1]
            self.model.deadlines.setdefault(parent, claim.deadline)
            assert claim.deadline == self.model.deadlines[parent]
            self.model.nodes.append(
                Node(parent=parent, depth=node.depth + 1, root=root, proposer=name, claim=claim)
            )

    def pick(self, place):
        count = len(self.model.nodes)
        return None if count == 1 else 1 + place % (count - 1)

    def finalise(self, place):
        number = self.pick(place)
        if number is None:
            return
        node = self.model.nodes[number]
        arguments = (node.claim.key, node.claim.outcome.to_abi())

        def expected(now):
            return self.model.finalise(number, now)

        if self.agree(expected, "alice", "finalise", *arguments):
            node.final, self.model.head = True, number
            self.model.credit[node.proposer] += self.bond

    def cancel(self, place, other):
        loser, winner = self.pick(place), self.pick(other)
        if loser is None:
            return
        nodes = self.model.nodes
        keys = (nodes[loser].claim.key, nodes[winner].claim.key)
        expected = self.model.cancel(loser, winner)
        if self.agree(lambda now: expected, "dispute", "cancel_claim", *keys):
            nodes[loser].dead = True
            self.model.credit[nodes[winner].proposer] += self.bond

    def discard(self, place):
        number = self.pick(place)
        if number is None:
            return
        node = self.model.nodes[number]
        expected = self.model.discard(number)
        if self.agree(lambda now: expected, "alice", "discard", node.claim.key):
            node.dead = True
            self.model.credit[node.proposer] += self.bond

    def collect(self, name):
        expected = None if self.model.credit[name] else "rollup: nothing to collect"
        if self.agree(lambda now: expected, name, "collect"):
            self.model.credit[name] = 0

    def check(self):
        """Bonds in the contract are those owed and those of claims still open."""
        nodes = self.model.nodes
        open_bonds = sum(self.bond for n in nodes[1:] if not n.dead and not n.final)
        balance = self.world.client.balance(self.world.deployment.rollup)
        assert balance == open_bonds + sum(self.model.credit.values())
        view = self.world.view()
        path = [number for number, node in enumerate(nodes) if node.final][1:]
        assert [verdict.key for verdict in view.finals] == [nodes[n].claim.key for n in path]
        for earlier, later in zip([0, *path], path, strict=False):
            assert nodes[later].parent == earlier
        assert not any(node.dead and node.final for node in nodes)


places = st.integers(0, 30)
actions = st.one_of(
    st.tuples(st.just("propose"), places, st.integers(0, 2), st.sampled_from(NAMES)),
    st.tuples(st.just("propose"), places, st.integers(0, 2), st.sampled_from(NAMES)),
    st.tuples(st.just("finalise"), places),
    st.tuples(st.just("cancel"), places, places),
    st.tuples(st.just("discard"), places),
    st.tuples(st.just("collect"), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.sampled_from((5, WINDOW + 5))),
)


def play(shared_world, script):
    world = type(shared_world)(
        node=shared_world.node, client=shared_world.client, deployment=shared_world.deployment
    )
    snapshot = world.node.rpc("evm_snapshot")
    try:
        run = Run(world)
        for name, *arguments in script:
            if name == "wait":
                world.pass_time(*arguments)
            else:
                getattr(run, name)(*arguments)
        run.check()
    finally:
        world.node.rpc("evm_revert", snapshot)


@settings(max_examples=15, deadline=None)
@given(script=st.lists(actions, min_size=5, max_size=25))
def test_contract_and_model_agree(shared_world, script):
    play(shared_world, script)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(script=st.lists(actions, min_size=10, max_size=60))
def test_contract_and_model_agree_for_long(shared_world, script):
    play(shared_world, script)
