"""Batcher and proposer on an L1 that misbehaves at random, from one seed."""

import random

import pytest

from entresol.da.blobs import pack
from entresol.rollup.claim import Journal
from entresol.settlement.batcher import Batcher, BatcherStatus
from entresol.settlement.l1 import L1Client
from entresol.settlement.proposer import Proposer, ProposerStatus, RunResult
from entresol.settlement.sender import FeePolicy, Sender
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1

ROOTS = [bytes([0, 0, 0, number]) * 8 for number in range(1, 20)]
COUNT = 4
WINDOW = 60


class Runs:
    """The state after record i has root i + 1; the result depends on the record's L1 time."""

    def result(self, record):
        journal = Journal(
            encoding_version=1, first_time_ms=1000 * record.l1_time,
            last_time_ms=1000 * record.l1_time,
        )  # fmt: skip
        before, after = ROOTS[record.index], ROOTS[record.index + 1]
        return RunResult(
            durable_before=before, volatile_before=before, durable_after=after,
            volatile_after=after, exit_code=0, journal=journal.encode(),
        )  # fmt: skip


class Storm:
    """Two drivers and everything that can happen to them."""

    def __init__(self, world, source, prove, folder, seed):
        self.world, self.source, self.prove = world, source, prove
        self.folder, self.random = folder, random.Random(seed)
        self.restart_batcher()
        self.restart_proposer()

    def sender(self, name):
        policy = FeePolicy(patience_blocks=self.random.choice((1, 2)))
        client = L1Client(self.world.node.url)
        path = self.folder / f"{name}.json"
        return Sender(client, self.world.secret(name), state=path, policy=policy)

    def restart_batcher(self):
        sender = self.sender("sequencer")
        view = L1View(sender.client, self.world.deployment)
        self.batcher = Batcher(view, sender, self.source, pack=pack, prove=self.prove)

    def restart_proposer(self):
        sender = self.sender("proposer")
        view = L1View(sender.client, self.world.deployment)
        self.proposer = Proposer(view, sender, Runs())

    def step_batcher(self):
        self.batcher.step()

    def step_proposer(self):
        self.proposer.step()

    def mine(self):
        self.world.node.rpc("evm_mine")

    def reorg(self):
        depth = self.world.client.head().number - self.world.deployment.block - 4
        if depth > 0:
            self.world.node.rpc("anvil_reorg", self.random.randint(1, min(depth, 4)), [])

    def drop(self):
        self.world.node.rpc("anvil_dropAllTransactions")

    def spike(self):
        fee = self.random.randint(1, 40) * 10**9
        self.world.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(fee))

    def wait(self):
        self.world.pass_time(self.random.choice((1, 20, WINDOW + 1)))

    def step(self):
        events = (
            [self.step_batcher] * 8
            + [self.step_proposer] * 8
            + [self.mine] * 8
            + [self.restart_batcher, self.restart_proposer, self.reorg, self.drop, self.spike]
            + [self.wait]
        )
        self.random.choice(events)()

    def settle(self):
        """Fair weather: everything must come to its end."""
        self.world.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        for _ in range(400):
            idle = self.batcher.step() is BatcherStatus.IDLE
            done = self.proposer.step() is ProposerStatus.IDLE
            self.mine()
            if idle and done:
                if len(self.world.view().finals) == COUNT:
                    return
                self.world.pass_time(WINDOW + 1)
        raise AssertionError("the drivers do not come to rest after the storm")


def run_storm(world, source, prove, folder, seed, steps):
    world.node.rpc("evm_setAutomine", False)
    storm = Storm(world, source, prove, folder, seed)
    for _ in range(steps):
        storm.step()
    storm.settle()
    view = world.view()
    records = [entry.record for entry in view.records]
    assert [record.index for record in records] == list(range(COUNT))
    expected = [prove(pack(batch.data)).versioned_hashes for batch in source.batches]
    assert [record.blob_hashes for record in records] == expected
    final = [view.claim(verdict.key) for verdict in view.finals]
    assert [claim.record_index for claim in final] == list(range(COUNT))
    assert [claim.outcome.durable_root for claim in final] == ROOTS[1 : COUNT + 1]
    assert [claim.outcome.last_time_ms for claim in final] == [1000 * r.l1_time for r in records]


@pytest.fixture
def storm(world, batches, quick_prove, tmp_path):
    source = batches(*(bytes([number]) * 1000 for number in range(1, COUNT + 1)))

    def run(seed, steps):
        run_storm(world, source, quick_prove, tmp_path, seed, steps)

    return run


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm(storm, seed):
    storm(seed, steps=120)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_storms(storm, seed):
    storm(seed, steps=400)
