"""Gas of every action on a real node, against the figures in gas.json.

Write the file anew with `ENTRESOL_UPDATE_GAS=1 pytest tests/settlement/test_gas.py`.
"""

import json
import os
from pathlib import Path

import pytest

from entresol.crypto.merkle import AppendOnlyTree
from entresol.rollup.withdrawal import Withdrawal
from entresol.settlement import batcher, bridge, deploy, proposer
from entresol.settlement.compile import CONTRACTS, compile_contract
from entresol.settlement.transaction import TRANSACTION_GAS_LIMIT

pytestmark = pytest.mark.l1

SNAPSHOT = Path(__file__).parent / "gas.json"
TOLERANCE = 0.02
"""Zero bytes in times and hashes are cheaper, so figures move a little from run to run."""


def measure_deployment(world):
    gas = {}
    for name in CONTRACTS:
        arguments = deploy.constructor_arguments(name, world.deployment)
        data = deploy.creation_data(compile_contract(name), arguments)
        request = {"from": "0x" + world.address("alice").hex(), "data": "0x" + data.hex()}
        gas[f"deploy {name}"] = int(world.client.rpc("eth_estimateGas", request), 16)
    return gas


def measure_inbox(world):
    user = world.user("alice")
    user.mint(10**9)
    world.transact("alice", "token", "approve", world.deployment.bridge, 10**9)
    gas = {}
    for label in ("deposit, first ever", "deposit, second", "deposit, steady"):
        gas[label] = user.deposit(10**8).gas_used
    gas["force withdraw"] = user.force_withdraw(world.address("bob"), 0, 10**6).gas_used
    gas["force cancel all"] = user.force_cancel_all(0).gas_used
    gas["force revoke lane"] = user.force_revoke_lane(0, 3).gas_used
    return gas


def measure_records(world, sidecars):
    gas = {}
    for label, blobs, length in (
        ("post 1 blob, first ever", 1, 100_000),
        ("post 1 blob", 1, 100_000),
        ("post 2 blobs", 2, 200_000 - 26_000),
    ):
        index = world.read("rollup", "record_count")
        world.pass_time(10)  # writing the same time again would be cheaper
        arguments = (index, length, 0, bytes(32), 0)
        receipt = world.transact(
            "sequencer", "rollup", "post_blobs", *arguments, sidecar=sidecars[blobs]
        )
        assert receipt.blob_gas_used == blobs << 17
        gas[label] = receipt.gas_used
    for size in (1_000, 120_000):
        data = bytes(i % 255 + 1 for i in range(size))
        index = world.read("rollup", "record_count")
        world.pass_time(10)
        arguments = (index, data, 0, bytes(32), 0)
        receipt = world.transact("sequencer", "rollup", "post_calldata", *arguments, gas=9_000_000)
        gas[f"post calldata, {size} bytes"] = receipt.gas_used
    return gas


def measure_claims(world, tree):
    gas = {}
    bond = world.deployment.parameters.bond
    records = [entry.record for entry in world.view().records]
    changes = {"withdrawals_root": tree.root, "withdrawals_count": tree.count}
    parent, claims = world.deployment.genesis_key, []
    for label, record, options in (
        ("propose, first", records[0], changes),
        ("propose", records[1], {}),
        ("propose, failed run", records[2], {"exit_code": 202}),
    ):
        roots = {"roots": tuple([b"\0\0\0\5" * 8] * 2)} if options is changes else {}
        if not roots:
            outcome = claims[-1].outcome
            roots = {"roots": (outcome.durable_root, outcome.volatile_root)}
        arguments = world.claim_arguments(record, parent, **roots, **options)
        receipt = world.transact("proposer", "rollup", "propose", *arguments, value=bond)
        gas[label] = receipt.gas_used
        claims.append(world.view().claims[-1])
        parent = claims[-1].key
    false = world.propose(records[0], roots=(b"\0\0\0\6" * 8,) * 2, by="rival")
    orphan = world.propose(records[1], false.key, by="rival")
    verdict = (false.key, claims[0].key)
    gas["cancel"] = world.transact("dispute", "rollup", "cancel_claim", *verdict).gas_used
    gas["discard"] = world.transact("alice", "rollup", "discard", orphan.key).gas_used
    world.pass_time(61)
    for label, claim in zip(("finalise, first", "finalise", "finalise, failed run"), claims,
                            strict=True):  # fmt: skip
        gas[label] = world.finalise(claim).gas_used
    gas["collect"] = world.transact("proposer", "rollup", "collect").gas_used
    return gas, claims[0]


def measure_withdrawals(world, tree, withdrawals, claim):
    gas = {}
    labels = ("withdraw, first in a word", "withdraw, steady", "withdraw, queued")
    for label, withdrawal in zip(labels, withdrawals, strict=True):
        gas[label] = world.user("bob").withdraw(
            claim.key, withdrawal.index, withdrawal.recipient, withdrawal.amount,
            tree.prove(withdrawal.index),
        ).gas_used  # fmt: skip
    world.pass_time(5_000)
    gas["release"] = world.user("bob").release(2).gas_used
    return gas


@pytest.fixture
def gas(world, sidecars):
    tree, withdrawals = AppendOnlyTree(), []
    for index, amount in enumerate((10**6, 10**6, 10**8)):
        withdrawal = Withdrawal(
            index=index, token=world.deployment.token, recipient=world.address("bob"),
            amount=amount,
        )  # fmt: skip
        tree.append(withdrawal.leaf(world.deployment.domain))
        withdrawals.append(withdrawal)
    figures = measure_deployment(world) | measure_inbox(world) | measure_records(world, sidecars)
    claims, first = measure_claims(world, tree)
    return figures | claims | measure_withdrawals(world, tree, withdrawals, first)


def test_gas_is_as_recorded(gas):
    if os.environ.get("ENTRESOL_UPDATE_GAS"):
        SNAPSHOT.write_text(json.dumps(gas, indent=2) + "\n")
    recorded = json.loads(SNAPSHOT.read_text())
    assert list(gas) == list(recorded)
    moved = {
        name: (recorded[name], used)
        for name, used in gas.items()
        if abs(used - recorded[name]) > TOLERANCE * recorded[name]
    }
    assert moved == {}, "gas changed: if it should, write gas.json anew as this file says"


def test_every_action_fits_the_limits(gas):
    """The gas limits that the drivers set are above what is used, with room for worse cases."""
    assert max(gas.values()) < TRANSACTION_GAS_LIMIT
    room = 1.3
    for name, limit in {
        "post 2 blobs": batcher.POST_BLOBS_GAS,
        "propose": proposer.GAS["propose"],
        "finalise": proposer.GAS["finalise"],
        "collect": proposer.GAS["collect"],
        "deposit, first ever": bridge.GAS["deposit"],
        "force withdraw": bridge.GAS["force_withdraw"],
        "withdraw, queued": bridge.GAS["withdraw"],
        "release": bridge.GAS["release"],
        "deploy rollup": deploy.DEPLOY_GAS,
        "post calldata, 120000 bytes": 600_000 + 60 * 120_000,
    }.items():
        assert room * gas[name] <= limit, name
