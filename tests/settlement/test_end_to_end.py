"""Deposit, blob, claim, finality, withdrawal: the drivers together on a real node.

The rules of the exchange are not part of this package, so a tiny ledger stands in for the kernel:
a batch lists payments out of what the inbox paid in, and its state root is a hash of the balances.
Everything that touches L1 is the real thing.
"""

import json
import threading
from dataclasses import replace

import pytest

from entresol.crypto.keccak import keccak256
from entresol.crypto.merkle import AppendOnlyTree
from entresol.da.blobs import pack, unpack
from entresol.rollup.claim import Journal
from entresol.rollup.inbox import decode_item
from entresol.rollup.withdrawal import Withdrawal
from entresol.settlement.batcher import Batcher, SealedBatch
from entresol.settlement.proposer import Proposer, RunResult
from entresol.settlement.reader import L1Reader, NodeBlobs
from entresol.settlement.sender import Sender
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1


def root_of(balances):
    """A hash of the balances in the form of a state root: eight elements below the prime."""
    digest = keccak256(json.dumps(balances, sort_keys=True).encode())
    return bytes(byte if at % 4 else byte & 0x3F for at, byte in enumerate(digest))


class Ledger:
    """Balances by owner, paid in by inbox items and paid out by payments in batches."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.balances, self.tree, self.withdrawals = {}, AppendOnlyTree(), []
        self.position, self.chain_hash, self.time_ms = 0, bytes(32), 0

    def root(self):
        return root_of(self.balances)

    def apply(self, items, payments, position, chain_hash, time_ms):
        for item in items:
            decoded = decode_item(item)
            owner = decoded.recipient.hex()
            self.balances[owner] = self.balances.get(owner, 0) + decoded.amount
        for owner, amount in payments:
            self.balances[owner] -= amount
            withdrawal = Withdrawal(
                index=self.tree.count, token=self.deployment.token,
                recipient=bytes.fromhex(owner), amount=amount,
            )  # fmt: skip
            self.tree.append(withdrawal.leaf(self.deployment.domain))
            self.withdrawals.append(withdrawal)
        self.position, self.chain_hash, self.time_ms = position, chain_hash, time_ms
        return Journal(
            encoding_version=1, withdrawals_root=self.tree.root,
            withdrawals_count=self.tree.count, inbox_position=position, inbox_hash=chain_hash,
            first_time_ms=time_ms, last_time_ms=time_ms,
        )  # fmt: skip


class Operator:
    """Seals batches, and runs records as they are on L1: both sources of the drivers."""

    def __init__(self, world):
        self.view = L1View(world.client, world.deployment)
        self.reader = L1Reader(self.view, [NodeBlobs(world.client)], unpack)
        self.sealed, self.results = [], {}
        self.ledger = Ledger(world.deployment)
        self.lock = threading.Lock()

    def seal(self, payments):
        self.view.refresh()
        position = len(self.view.items)
        time_ms = self.view.head.time * 1000
        content = {"payments": payments, "position": position, "time_ms": time_ms}
        self.sealed.append(
            SealedBatch(
                index=len(self.sealed), data=json.dumps(content).encode(),
                inbox_position=position, inbox_hash=self.view.inbox_hash(position),
                last_time_ms=time_ms,
            )
        )  # fmt: skip

    def batch(self, index):
        return self.sealed[index] if index < len(self.sealed) else None

    def result(self, record):
        """Run records in order, from the bytes that L1 serves."""
        with self.lock:
            self.reader.refresh()
            if record.digest not in self.results and len(self.results) == record.index:
                self.results[record.digest] = self._run(record)
            return self.results.get(record.digest)

    def _run(self, record):
        data = self.reader.record(record.index)
        assert data.record == record
        content = json.loads(data.data)
        before = self.ledger.root()
        items = self.reader.inbox_items(self.ledger.position, content["position"])
        journal = self.ledger.apply(
            items, content["payments"], content["position"],
            self.view.inbox_hash(content["position"]), content["time_ms"],
        )  # fmt: skip
        after = self.ledger.root()
        return RunResult(
            durable_before=before, volatile_before=before, durable_after=after,
            volatile_after=after, exit_code=0, journal=journal.encode(),
        )  # fmt: skip


def test_money_goes_in_and_comes_out_with_the_operator_unattended(
    shared_node, start_world, tmp_path, quick_prove
):
    snapshot = shared_node.rpc("evm_snapshot")
    empty = root_of({})
    world = start_world(shared_node, roots=(empty, empty))
    operator = Operator(world)
    stop = threading.Event()

    def run(kind, name, *options, **more):
        sender = Sender(world.client, world.secret(name), state=tmp_path / f"{name}.json")
        view = L1View(world.client, world.deployment)
        driver = kind(view, sender, operator, *options, **more)
        worker = threading.Thread(target=driver.run, args=(stop, 0.02))
        worker.start()
        return worker

    def wait_for(count, attribute, seconds=60):
        view = L1View(world.client, world.deployment)
        for _ in range(seconds * 50):
            view.refresh()
            if len(getattr(view, attribute)) >= count:
                return view
            stop.wait(0.02)
        raise AssertionError(f"{attribute} did not reach {count}")

    workers = [
        run(Batcher, "sequencer", pack=pack, prove=quick_prove),
        run(Proposer, "proposer"),
    ]
    try:
        alice, bob = world.user("alice"), world.user("bob")
        for user in (alice, bob):
            user.mint(50_000_000)
            user.deposit(40_000_000)
        operator.seal([])
        wait_for(1, "claims")
        operator.seal([[alice.sender.address.hex(), 15_000_000]])
        operator.seal([[bob.sender.address.hex(), 40_000_000]])
        wait_for(3, "claims")
        world.pass_time(world.deployment.parameters.challenge_window + 1)
        view = wait_for(3, "finals")
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    claim = view.claim(view.final_head)
    assert claim.outcome.withdrawals_root == operator.ledger.tree.root
    assert claim.outcome.durable_root == operator.ledger.root()
    for withdrawal in operator.ledger.withdrawals:
        path = operator.ledger.tree.prove(withdrawal.index)
        alice.withdraw(claim.key, withdrawal.index, withdrawal.recipient, withdrawal.amount, path)
    assert (alice.token_balance(), bob.token_balance()) == (25_000_000, 50_000_000)
    assert alice.token_balance(world.deployment.bridge) == 25_000_000
    assert sum(operator.ledger.balances.values()) == 25_000_000
    assert world.read("bridge", "net_deposits") == 25_000_000
    # A withdrawals root of any later final claim serves as well, an older one does not.
    first = view.claim(view.finals[0].key)
    assert first.outcome.withdrawals_count == 0
    late = replace(operator.ledger.withdrawals[0], amount=1)
    refusal = world.refused(
        "bob", "bridge", "withdraw", first.key, late.index, late.recipient, late.amount,
        [bytes(32)] * 32,
    )  # fmt: skip
    assert refusal == "bridge: proof"
    shared_node.rpc("evm_revert", snapshot)
