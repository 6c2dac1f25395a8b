"""The demo after trading: batches onto L1, claims final, withdrawals paid, everything derived.

Nothing of what is reported comes from the node's word alone: sizes and roots are those of the
state derived from L1 data, which is compared with the claims on L1 and with the node.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from eth_utils.abi import function_abi_to_4byte_selector

from entresol.cli.evidence import BatchEvidence, Report
from entresol.cli.stack import Stack, await_condition
from entresol.client.bridge import Bridge, read_proof
from entresol.client.exchange import Exchange
from entresol.client.keys import Key
from entresol.client.market_data import UNIT
from entresol.da.blobs import unpack
from entresol.kernel import layout, views
from entresol.kernel.invariants import check_invariants
from entresol.machine.memory import Memory
from entresol.node.derive import DeriveResult, derive
from entresol.sequencing.snapshots import load_snapshot
from entresol.settlement.compile import compile_contract
from entresol.settlement.deploy import Deployment
from entresol.settlement.l1 import L1Client
from entresol.settlement.reader import L1Reader, NodeBlobs
from entresol.settlement.view import L1View

SETTLE_SECONDS: Final = 300.0
WITHDRAWAL: Final = 1_000 * UNIT
"""What each withdrawing trader takes home."""


@dataclass(frozen=True, slots=True)
class RequestedWithdrawal:
    """A withdrawal accepted by the exchange and not yet paid on L1."""

    owner: Key
    index: int
    amount: int


async def request_withdrawals(exchange: Exchange, owners: list[Key]) -> list[RequestedWithdrawal]:
    """Let each owner withdraw to its own L1 address."""
    requested = []
    for owner in owners:
        account = await exchange.find_account(owner.address)
        index = int((await exchange.read("public/status"))["withdrawals"])
        await exchange.withdraw(owner, account, owner.address, WITHDRAWAL)
        requested.append(RequestedWithdrawal(owner, index, WITHDRAWAL))
    return requested


def await_settlement(stack: Stack, progress: Callable[[int, int], None]) -> L1View:
    """Seal, and wait until all is posted, claimed and final; moves the development clock."""
    stack.node.seal()
    view = L1View(L1Client(stack.l1_url), stack.deployment)
    window = stack.deployment.parameters.challenge_window

    def status() -> dict[str, Any]:
        return asyncio.run(_status(stack.api_url))

    sealed = 0

    def is_posted() -> bool:
        nonlocal sealed
        view.refresh()
        found = status()
        sealed = max(sealed, found["open_batch"])
        progress(len(view.claims), max(sealed, 1))
        return 0 < sealed <= len(view.claims) and _covers(view, found["withdrawals"])

    await_condition(is_posted, SETTLE_SECONDS, "Posting and claiming every batch", stack)

    def is_final() -> bool:
        view.refresh()
        if len(view.finals) < len(view.claims):
            stack.pass_time(window + 1)
        return len(view.finals) >= len(view.claims)

    await_condition(is_final, SETTLE_SECONDS, "Finality of every claim", stack)
    return view


def _covers(view: L1View, withdrawals: int) -> bool:
    return bool(view.claims) and view.claims[-1].outcome.withdrawals_count >= withdrawals


async def _status(url: str) -> dict[str, Any]:
    async with await Exchange.connect(url) as exchange:
        found: dict[str, Any] = await exchange.read("public/status")
        return found


async def pay_withdrawals(
    stack: Stack, exchange: Exchange, requested: list[RequestedWithdrawal], report: Report
) -> None:
    """Prove every withdrawal on L1 and compare what arrived."""
    for withdrawal in requested:
        answer = await exchange.read("public/get_withdrawal_proof", index=withdrawal.index)
        proof = read_proof(answer)
        bridge = Bridge(stack.l1_url, stack.deployment, withdrawal.owner)
        before = bridge.balance()
        receipt = await asyncio.to_thread(bridge.withdraw, proof)
        paid = bridge.balance() - before
        report.withdrawals.append(
            {
                "index": withdrawal.index,
                "recipient": withdrawal.owner.address_hex,
                "amount": withdrawal.amount,
                "paid": paid,
                "gas": receipt.gas_used,
                "transaction": "0x" + receipt.transaction.hex(),
                "claim": "0x" + proof.claim.hex(),
                "path": ["0x" + node.hex() for node in proof.path],
            }
        )
    paid_in_full = all(entry["paid"] == entry["amount"] for entry in report.withdrawals)
    report.check(
        "withdrawals are proven and paid on L1",
        paid_in_full and len(report.withdrawals) == len(requested) > 0,
        f"{len(requested)} of {WITHDRAWAL // UNIT:,} each",
    )


def derive_state(
    l1_url: str,
    deployment: Deployment,
    genesis: Any,
    directory: Path,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> DeriveResult:
    """Rebuild everything from L1 data alone into an empty directory."""
    client = L1Client(l1_url)
    reader = L1Reader(L1View(client, deployment), [NodeBlobs(client)], unpack)
    return derive(deployment, reader, directory, progress, genesis=genesis)


async def note_batches(exchange: Exchange, derived: DeriveResult, report: Report) -> None:
    """Join what was derived from L1 with the builder's sizes and the claims."""
    built = {
        entry["batch"]: entry for entry in await exchange.read("public/get_batches", count=1_000)
    }
    claimed = {claim.record: claim for claim in derived.claims if not claim.is_dead}
    for record in derived.records:
        batch = built[record.index]
        root = _root(record.durable_root, record.volatile_root)
        claim = claimed.get(record.index)
        report.batches.append(
            BatchEvidence(
                record=record.index,
                blocks=record.next_block - record.first_block,
                operations=record.operations,
                plain_bytes=batch["raw_bytes"],
                signatures=batch["lanes"],
                published_bytes=record.data_bytes,
                blobs=0 if record.source == "calldata" else -(-record.data_bytes // (31 * 4096)),
                instructions=record.instructions,
                dirty_leaves=batch["dirty_leaves"],
                exit_code=record.exit_code,
                root_machine=root,
                # The node's builder; derive() itself ran the record natively and in the machine
                # and would have raised DivergenceError at the first different byte.
                root_native=batch["durable_root"] + batch["volatile_root"][2:],
                root_claimed=root if claim is not None and claim.agrees else "differs",
                system_calls=batch["system_calls"],
            )
        )
    report.check(
        "native run, machine run and claims on L1 have the same roots",
        bool(report.batches) and all(batch.agrees for batch in report.batches),
        f"{len(report.batches)} batches",
    )


def _root(durable: bytes, volatile: bytes) -> str:
    return "0x" + durable.hex() + volatile.hex()


def note_l1_transactions(stack: Stack, report: Report) -> None:
    """Sum up every transaction on the development L1 by what it did."""
    client = L1Client(stack.l1_url)
    contracts = {
        getattr(stack.deployment, name): name for name in ("token", "inbox", "bridge", "rollup")
    }
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number in range(1, client.head().number + 1):
        block = client.rpc("eth_getBlockByNumber", hex(number), True)
        for transaction in block["transactions"]:
            receipt = client.rpc("eth_getTransactionReceipt", transaction["hash"])
            name = _transaction_name(contracts, transaction)
            gas, blob_gas = int(receipt["gasUsed"], 16), int(receipt.get("blobGasUsed", "0x0"), 16)
            found[name].append((gas, blob_gas))
    for name, entries in sorted(found.items()):
        used = [entry[0] for entry in entries]
        report.l1_transactions[name] = {
            "count": len(entries),
            "gas_total": sum(used),
            "gas_mean": sum(used) // len(used),
            "gas_max": max(used),
            "blob_gas_total": sum(entry[1] for entry in entries),
        }
    most = max(entry["gas_max"] for entry in report.l1_transactions.values())
    report.check("every L1 transaction is under 16,777,216 gas", most < 1 << 24, f"most: {most:,}")


def _transaction_name(contracts: dict[bytes, str], transaction: dict[str, Any]) -> str:
    if transaction["to"] is None:
        return "deploy"
    name = contracts.get(bytes.fromhex(transaction["to"][2:]))
    if name is None:
        return "other"
    return f"{name}.{_selectors(name).get(transaction['input'][:10], 'unknown')}"


@cache
def _selectors(contract: str) -> dict[str, str]:
    """Function names of a contract by their selectors, as 0x hex."""
    functions = [item for item in compile_contract(contract).abi if item["type"] == "function"]
    return {
        "0x" + function_abi_to_4byte_selector(item).hex(): item["name"]  # type: ignore[arg-type]
        for item in functions
    }


def save_json(document: dict[str, Any], path: Path) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(document, indent=2) + "\n")


def describe_state(stack: Stack, derived: DeriveResult) -> dict[str, Any]:
    """Money and positions of the derived state, with the kernel's own invariants."""
    memory = Memory()
    path = stack.settings.directory / "derived" / derived.snapshot
    load_snapshot(path, memory)
    durable: Any = views.durable(memory.array)
    header = durable["header"]
    accounts = int(header["account_count"])
    quantity = durable["position"][:accounts]["quantity"].astype(np.int64)
    instrument = durable["position"][:accounts]["instrument"]
    sums = np.zeros(layout.INSTRUMENTS, np.int64)
    np.add.at(sums, instrument[quantity != 0], quantity[quantity != 0])
    client = L1Client(stack.l1_url)
    token, bridge = stack.deployment.contract("token"), stack.deployment.contract("bridge")
    return {
        "blocks": derived.blocks,
        "operations": int(header["operation_count"]),
        "fills": int(header["fill_count"]),
        "rejections": int(header["rejection_count"]),
        "accounts": accounts,
        "state_root": "0x" + derived.state_root.hex(),
        "deposited": int(header["deposited"]),
        "cash": int(durable["account"][:accounts]["cash"].astype(np.int64).sum()),
        "withdrawn": int(header["withdrawn"]),
        "custody": int(client.call(token, "balanceOf", bridge.address)),
        "fees": int(durable["account"][layout.HOUSE_ACCOUNT]["cash"]),
        "open_interest_balanced": not sums.any(),
        "invariants": int(check_invariants(memory.base)) == 0,
    }
