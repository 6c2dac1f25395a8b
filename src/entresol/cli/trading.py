"""`entresol order`, `cancel`, `book`, `positions`: trade as one account and look."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Annotated, Any

import typer

from entresol.cli.output import Json, command, show, table_of
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
from entresol.client.exchange import Exchange
from entresol.client.trader import TIMES_IN_FORCE
from entresol.kernel import layout

app = typer.Typer()

SIDES = {"buy": layout.BUY, "sell": layout.SELL}
Instrument = Annotated[str, typer.Argument(help="For example BTC-PERPETUAL.")]


def run_with_exchange(
    venue: Venue, work: Callable[[Exchange], Coroutine[Any, Any, dict[str, Any]]]
) -> dict[str, Any]:
    """Connect to the venue's node, do the work, disconnect."""

    async def run() -> dict[str, Any]:
        async with await Exchange.connect(venue.api_url) as exchange:
            return await work(exchange)

    return asyncio.run(run())


def _choice(names: list[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in names:
            raise typer.BadParameter(f"choose one of {', '.join(names)}")
        return value

    return check


@app.command()
@command
def order(
    side: Annotated[str, typer.Argument(callback=_choice(list(SIDES)), help="buy or sell")],
    instrument: Instrument,
    amount: Annotated[str, typer.Argument(help="Amount of the underlying, such as 0.01.")],
    price: Annotated[
        str | None, typer.Option(help="Limit price; without one the order takes what is there.")
    ] = None,
    time_in_force: Annotated[
        str, typer.Option(callback=_choice(list(TIMES_IN_FORCE)), help=", ".join(TIMES_IN_FORCE))
    ] = "good_til_cancelled",
    post_only: Annotated[bool, typer.Option(help="Rest or be rejected, never take.")] = False,
    reduce_only: Annotated[bool, typer.Option(help="Only make the position smaller.")] = False,
    trader: TraderOption = FIRST_TRADER,
    key: KeyOption = None,
    subaccount: SubaccountOption = 0,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Place an order and show what became of it.

    The answer comes when the order stands on the sequencer's disk, with its signed receipt.
    """
    place = Venue.load(venue)
    owner = load_owner(place, trader, key)

    async def work(exchange: Exchange) -> dict[str, Any]:
        desk = await exchange.open_trader(owner, subaccount=subaccount)
        placed = await desk.order(
            SIDES[side],
            instrument,
            amount,
            price=price,
            time_in_force=time_in_force,
            post_only=post_only,
            reduce_only=reduce_only,
        )
        receipt = placed.outcome.receipt
        return {
            "order_id": placed.order_id,
            "instrument_name": instrument,
            "side": side,
            "amount": Decimal(amount),
            "filled": placed.filled,
            "resting": placed.remaining,
            "block": None if receipt is None else receipt.block,
            "confirmed_in_ms": round(1000 * placed.outcome.seconds, 2),
        }

    document = run_with_exchange(place, work)
    show(document, as_json, table_of("Order", list(document), [list(document.values())]))


@app.command()
@command
def cancel(
    order_id: Annotated[str, typer.Argument(help="The order's id, or `all`.")],
    trader: TraderOption = FIRST_TRADER,
    key: KeyOption = None,
    subaccount: SubaccountOption = 0,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Cancel one order, or with `all` every order of the account."""
    place = Venue.load(venue)
    owner = load_owner(place, trader, key)

    async def work(exchange: Exchange) -> dict[str, Any]:
        desk = await exchange.open_trader(owner, subaccount=subaccount)
        outcome = await (desk.cancel_all() if order_id == "all" else desk.cancel(order_id))
        receipt = outcome.receipt
        return {"cancelled": order_id, "block": None if receipt is None else receipt.block}

    document = run_with_exchange(place, work)
    show(document, as_json, table_of("Cancelled", list(document), [list(document.values())]))


@app.command()
@command
def book(
    instrument: Annotated[
        str | None, typer.Argument(help="For example BTC-PERPETUAL; without one: all markets.")
    ] = None,
    depth: Annotated[int, typer.Option(min=1, max=10_000, help="Levels per side.")] = 10,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Show an order book, or the best prices of every market."""
    place = Venue.load(venue)

    async def work(exchange: Exchange) -> dict[str, Any]:
        if instrument is None:
            names = sorted(exchange.instruments)
            tickers = [await exchange.read("public/ticker", instrument_name=n) for n in names]
            return {"markets": tickers}
        exchange.find(instrument)
        found: dict[str, Any] = await exchange.read(
            "public/get_order_book", instrument_name=instrument, depth=depth
        )
        return found

    document = run_with_exchange(place, work)
    if instrument is None:
        columns = ["instrument_name", "best_bid_price", "best_ask_price", "mark_price", "state"]
        rows = [[entry.get(column, "") for column in columns] for entry in document["markets"]]
        show(document, as_json, table_of("Markets", columns, rows))
        return
    bids, asks = document["bids"], document["asks"]
    rows = []
    for level in range(max(len(bids), len(asks))):
        bid = bids[level] if level < len(bids) else ("", "")
        ask = asks[level] if level < len(asks) else ("", "")
        rows.append([bid[1], bid[0], ask[0], ask[1]])
    show(document, as_json, table_of(instrument, ["amount", "bid", "ask", "amount "], rows))


@app.command()
@command
def positions(
    trader: TraderOption = FIRST_TRADER,
    key: KeyOption = None,
    subaccount: SubaccountOption = 0,
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Show an account: money, margin, positions, open orders."""
    place = Venue.load(venue)
    owner = load_owner(place, trader, key)

    async def work(exchange: Exchange) -> dict[str, Any]:
        account = await exchange.find_account(owner.address, subaccount)
        return {
            "summary": await exchange.read("private/get_account_summary", account=account),
            "positions": await exchange.read("private/get_positions", account=account),
            "open_orders": await exchange.read("private/get_open_orders", account=account),
        }

    document = run_with_exchange(place, work)
    tables = [table_of("Account", ["", "value"], [list(i) for i in document["summary"].items()])]
    for title, rows in (
        ("Positions", document["positions"]),
        ("Open orders", document["open_orders"]),
    ):
        columns = list(rows[0]) if rows else []
        tables.append(table_of(title, columns, [list(row.values()) for row in rows]))
    show(document, as_json, *tables)
