import threading
from dataclasses import replace

import pytest

from entresol.rollup.claim import Journal
from entresol.settlement import proposer as proposer_module
from entresol.settlement.proposer import (
    DisagreementError,
    Proposer,
    ProposerError,
    ProposerStatus,
    RunResult,
)
from entresol.settlement.sender import BalanceLowError, FeePolicy, Sender
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1

ROOTS = [bytes([0, 0, 0, number]) * 8 for number in range(1, 9)]
WINDOW = 60


class Runs:
    """Results of running each record; `failing` are indices whose run fails."""

    def __init__(self, failing=(), limit=100):
        self.failing, self.limit = set(failing), limit
        self.asked = []

    def roots(self, index):
        good = sum(1 for earlier in range(index) if earlier not in self.failing)
        return ROOTS[good]

    def result(self, record):
        self.asked.append(record)
        if record.index >= self.limit:
            return None
        failed = record.index in self.failing
        times = 1000 * (record.index + 1)
        journal = Journal(
            encoding_version=1, withdrawals_root=ROOTS[7], withdrawals_count=record.index,
            first_time_ms=times, last_time_ms=times,
        )  # fmt: skip
        return RunResult(
            durable_before=self.roots(record.index),
            volatile_before=self.roots(record.index),
            durable_after=self.roots(record.index + 1),
            volatile_after=self.roots(record.index + 1),
            exit_code=202 if failed else 0,
            journal=b"" if failed else journal.encode(),
        )


@pytest.fixture
def make(world, tmp_path):
    def build(source, *, name="proposer", policy=None, **options):
        sender = Sender(
            world.client, world.secret(name), state=tmp_path / f"{name}.json", policy=policy
        )
        view = L1View(world.client, world.deployment)
        return Proposer(view, sender, source, **options)

    return build


def run_until(proposer, status, limit=100):
    for _ in range(limit):
        if proposer.step() is status:
            return
    raise AssertionError(f"the proposer never was {status}")


def run_until_idle(proposer):
    run_until(proposer, ProposerStatus.IDLE)


def test_records_are_claimed_and_made_final(world, make):
    for number in range(3):
        world.post(bytes([number + 1]))
    runs = Runs(failing={1})
    proposer = make(runs)
    run_until_idle(proposer)
    view = world.view()
    assert [claim.record_index for claim in view.claims] == [0, 1, 2]
    assert [claim.exit_code for claim in view.claims] == [0, 202, 0]
    assert view.finals == []
    world.pass_time(WINDOW + 1)
    run_until_idle(proposer)
    view = world.view()
    assert [final.key for final in view.finals] == [claim.key for claim in view.claims]
    assert view.outcome(view.final_head).durable_root == runs.roots(3)
    assert view.outcome(view.final_head).withdrawals_count == 2
    assert len(view.claims) == 3


def test_bonds_are_collected(world, make):
    world.post()
    bond = world.deployment.parameters.bond
    proposer = make(Runs(), collect_from=bond)
    run_until_idle(proposer)
    world.pass_time(WINDOW + 1)
    run_until_idle(proposer)
    assert world.read("rollup", "credit", world.address("proposer")) == 0
    assert world.client.balance(world.deployment.rollup) == 0


def test_a_restart_after_every_step_changes_nothing(world, make):
    for number in range(2):
        world.post(bytes([number + 1]))
    for _ in range(2):
        world.node.rpc("evm_setAutomine", False)
        for number in range(40):
            if make(Runs()).step() is ProposerStatus.IDLE:
                break
            if number % 2:
                world.node.rpc("evm_mine")
        world.pass_time(WINDOW + 1)
    view = world.view()
    assert len(view.claims) == len(view.finals) == 2


def test_what_a_reorg_takes_back_is_done_again(world, make):
    for number in range(2):
        world.post(bytes([number + 1]))
    proposer = make(Runs())
    run_until_idle(proposer)
    world.node.rpc("anvil_reorg", 2, [])
    assert world.view().claims == []
    run_until_idle(proposer)
    world.pass_time(WINDOW + 1)
    run_until_idle(proposer)
    world.node.rpc("anvil_reorg", 1, [])
    assert len(world.view().finals) == 1
    run_until_idle(proposer)
    assert len(world.view().finals) == 2


def test_a_record_that_a_reorg_changed_is_run_again(world, make):
    world.post(b"one")
    runs = Runs()
    proposer = make(runs)
    run_until_idle(proposer)
    world.node.rpc("anvil_reorg", 2, [])
    world.pass_time(100)
    changed = world.post(b"one")
    run_until_idle(proposer)
    assert runs.asked[-1] == changed
    assert runs.asked[0].digest != changed.digest
    (claim,) = world.view().claims
    assert claim.record_index == 0


def test_results_that_are_not_there_are_waited_for(world, make):
    for number in range(2):
        world.post(bytes([number + 1]))
    run_until_idle(make(Runs(limit=1)))
    assert len(world.view().claims) == 1


def test_the_same_claim_of_somebody_else_is_enough(world, make):
    world.post()
    run_until_idle(make(Runs(), name="rival"))
    proposer = make(Runs())
    run_until_idle(proposer)
    assert len(world.view().claims) == 1
    world.pass_time(WINDOW + 1)
    run_until_idle(proposer)  # finality may be given by anyone
    assert len(world.view().finals) == 1
    assert world.client.nonce(world.address("proposer")) == 1


def test_a_false_sibling_is_contradicted_and_outlived(world, make):
    record = world.post()
    second = world.post()
    false = world.propose(record, by="rival", roots=(ROOTS[5], ROOTS[5]))
    world.propose(second, false.key, by="rival", roots=(ROOTS[6], ROOTS[6]))
    proposer = make(Runs())
    run_until_idle(proposer)
    view = world.view()
    mine = [claim for claim in view.claims if claim.proposer == world.address("proposer")]
    assert [claim.record_index for claim in mine] == [0, 1]
    world.pass_time(WINDOW + 1)
    run_until(proposer, ProposerStatus.CONTESTED)
    assert world.view().finals == []
    world.transact("dispute", "rollup", "cancel_claim", false.key, mine[0].key)
    run_until_idle(proposer)
    assert [final.key for final in world.view().finals] == [claim.key for claim in mine]


def test_too_late_to_contradict(world, make):
    record = world.post()
    world.propose(record, by="rival", roots=(ROOTS[5], ROOTS[5]))
    world.pass_time(WINDOW + 1)
    with pytest.raises(DisagreementError, match="its window is over"):
        make(Runs()).step()


def test_a_final_state_that_is_not_ours_stops_the_proposer(world, make):
    false = world.propose(world.post(), by="rival", roots=(ROOTS[5], ROOTS[5]))
    world.pass_time(WINDOW + 1)
    world.finalise(false)
    world.post()
    with pytest.raises(DisagreementError, match="is not this node's"):
        make(Runs()).step()


def test_a_low_balance_stops_with_a_clear_message(world, make):
    world.post()
    address = "0x" + world.address("proposer").hex()
    world.node.rpc("anvil_setBalance", address, hex(world.deployment.parameters.bond))
    proposer = make(Runs())
    with pytest.raises(BalanceLowError, match="send it ETH and start again"):
        proposer.run(threading.Event())
    assert world.view().claims == []


def test_fees_above_the_cap_are_waited_for(world, make):
    world.post()
    assert make(Runs(), policy=FeePolicy(gas_cap=10)).step() is ProposerStatus.WAITING
    run_until_idle(make(Runs()))


def test_repeated_failure_stops_the_proposer(world, make, monkeypatch):
    world.post()
    monkeypatch.setitem(proposer_module.GAS, "propose", 60_000)
    with pytest.raises(ProposerError, match="failed 3 times"):
        run_until_idle(make(Runs()))
    assert world.client.nonce(world.address("proposer")) == 3


def test_what_l1_refuses_is_reported_and_not_sent(world, make):
    """A run that the contract's own rules contradict: this node is wrong, not L1."""
    world.post()

    class Wrong(Runs):
        def result(self, record):
            return replace(super().result(record), durable_after=b"\xff" * 32)

    with pytest.raises(ProposerError, match="rollup: durable root"):
        make(Wrong()).step()
    assert world.client.nonce(world.address("proposer")) == 0
