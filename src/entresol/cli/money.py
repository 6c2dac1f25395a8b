"""`entresol deposit` and `withdraw`: money between L1 and an account of the exchange."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Final

import typer

from entresol.cli.output import CommandError, Json, command, expect, progress, show, table_of
from entresol.cli.venue import (
    DEFAULT_VENUE,
    FIRST_TRADER,
    KeyOption,
    SubaccountOption,
    TraderOption,
    Venue,
    VenueOption,
    load_owner,
)
from entresol.client.bridge import Bridge, WithdrawalNotReadyError, WithdrawalProof, read_proof
from entresol.client.exchange import Exchange
from entresol.client.instruments import parse_collateral
from entresol.client.market_data import UNIT
from entresol.settlement.anvil import AnvilError
from entresol.settlement.compile import CompileError
from entresol.settlement.deploy import DeploymentError
from entresol.settlement.l1 import L1Error
from entresol.settlement.sender import BalanceLowError, FeeCapError, SendTimeoutError

expect(
    L1Error, BalanceLowError, FeeCapError, SendTimeoutError, AnvilError, DeploymentError,
    CompileError, WithdrawalNotReadyError,
)  # fmt: skip

app = typer.Typer()

POLL_SECONDS: Final = 0.5
Amount = Annotated[str, typer.Argument(help="Amount of collateral, such as 1000 or 0.5.")]


@app.command()
@command
def deposit(
    amount: Amount,
    trader: TraderOption = FIRST_TRADER,
    key: KeyOption = None,
    subaccount: SubaccountOption = 0,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Deposit collateral from L1 and register a session key, so that trading can begin.

    On a development token, what is missing is created first.
    """
    place = Venue.load(venue)
    owner = load_owner(place, trader, key)
    micro = parse_collateral(amount)
    bridge = Bridge(place.l1_url, place.deployment, owner)
    receipt = bridge.deposit(micro, subaccount=subaccount)

    async def work() -> dict[str, Any]:
        async with await Exchange.connect(place.api_url) as exchange:
            account = await exchange.await_account(owner.address, subaccount)
            await exchange.open_trader(owner, subaccount=subaccount)
            summary = await exchange.read("private/get_account_summary", account=account)
            return {
                "account": account,
                "deposited": Decimal(micro) / UNIT,
                "balance": summary["balance"],
                "l1_transaction": "0x" + receipt.transaction.hex(),
                "gas": receipt.gas_used,
            }

    with progress(as_json) as bars:
        bars.add_task("waiting for the exchange to see the deposit", total=None)
        document = asyncio.run(work())
    show(document, as_json, table_of("Deposit", list(document), [list(document.values())]))


@app.command()
@command
def withdraw(
    amount: Amount,
    trader: TraderOption = FIRST_TRADER,
    key: KeyOption = None,
    subaccount: SubaccountOption = 0,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait until L1 can pay.")] = 900,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Withdraw collateral to the owner's L1 address: sign, wait for finality, prove, be paid.

    The wait is the time of a batch plus the challenge window.
    """
    place = Venue.load(venue)
    owner = load_owner(place, trader, key)
    micro = parse_collateral(amount)
    bridge = Bridge(place.l1_url, place.deployment, owner)
    before = bridge.balance()
    with progress(as_json) as bars:
        task = bars.add_task("signing", total=None)
        proof = asyncio.run(
            _await_proof(
                place,
                lambda exchange: _request(exchange, owner, subaccount, micro),
                lambda what: bars.update(task, description=what),
                timeout,
            )
        )
        bars.update(task, description="paying on L1")
        _await_final(bridge, proof, timeout)
        receipt = bridge.withdraw(proof)
    document = {
        "index": proof.withdrawal.index,
        "amount": Decimal(micro) / UNIT,
        "paid": Decimal(bridge.balance() - before) / UNIT,
        "l1_transaction": "0x" + receipt.transaction.hex(),
        "gas": receipt.gas_used,
    }
    show(document, as_json, table_of("Withdrawal", list(document), [list(document.values())]))


async def _request(exchange: Exchange, owner: Any, subaccount: int, micro: int) -> tuple[int, int]:
    account = await exchange.find_account(owner.address, subaccount)
    first = int((await exchange.read("public/status"))["withdrawals"])
    await exchange.withdraw(owner, account, owner.address, micro)
    return account, first


async def _await_proof(
    place: Venue,
    request: Callable[[Exchange], Any],
    note: Callable[[str], None],
    timeout: int,
) -> WithdrawalProof:
    """Request the withdrawal and wait until a claim on L1 covers it."""
    deadline = time.monotonic() + timeout
    async with await Exchange.connect(place.api_url) as exchange:
        account, index = await request(exchange)
        note("waiting for the batch and its claim")
        while True:
            found = await exchange.find_withdrawal(account, index)
            if found is not None and found["claim"] is not None:
                return read_proof(found)
            if time.monotonic() > deadline:
                raise CommandError(
                    f"No claim covers the withdrawal after {timeout} seconds; it is safe: it "
                    "can still be paid later."
                )
            await asyncio.sleep(POLL_SECONDS)


def _await_final(bridge: Bridge, proof: WithdrawalProof, timeout: int) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            bridge.check(proof)
            return
        except WithdrawalNotReadyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)
