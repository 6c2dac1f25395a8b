"""`entresol demo`: the whole of Entresol once, on a real L1 node, with its evidence.

Deposit on L1, trade on layer two, publish blobs, claim, finalise, withdraw, derive from L1 alone.
"""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from entresol.cli import settling
from entresol.cli.evidence import Report
from entresol.cli.opening import Market, MarketPlan, open_market
from entresol.cli.output import CommandError, Json, command, notes, progress, show
from entresol.cli.stack import Stack, StackSettings
from entresol.client.exchange import Exchange
from entresol.client.flow import FlowGenerator
from entresol.client.market_data import UNIT, BookTicker, DepthUpdate, Event, read_events
from entresol.client.operation_costs import measure_operation_costs
from entresol.client.replay import Replay
from entresol.client.tally import percentiles_ms
from entresol.node.derive import DeriveResult

app = typer.Typer()

DEFAULT_OPERATIONS = 60_000
IDLE_ORDERS = 200
"""Orders sent one after the other at the end, to measure confirmation without load."""


class Demo:
    """One run; `report` fills up as it goes."""

    def __init__(
        self, stack: Stack, events: Iterator[Event], operations: int | None, bars: Progress
    ) -> None:
        # Before anything is started, so that a file that cannot be read costs nothing.
        self.index, self.events = _first_index(events)
        self.stack, self.operations = stack, operations
        self.bars, self.report = bars, Report()
        self._tasks: dict[str, int] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long a part took."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.report.seconds[name] = round(time.perf_counter() - started, 3)

    def show_progress(self, what: str, done: int, total: int | None) -> None:
        """Move one of the bars."""
        if what not in self._tasks:
            self._tasks[what] = int(self.bars.add_task(what, total=total))
        self.bars.update(self._tasks[what], completed=done, total=total)  # type: ignore[arg-type]

    async def trade(self) -> Market:
        """Open the market, replay the feed, measure confirmation, request withdrawals."""
        async with await Exchange.connect(self.stack.api_url) as exchange:
            with self.timed("open accounts and markets"):
                market = await open_market(
                    self.stack, exchange, self.index, MarketPlan(), self.show_progress
                )
            with self.timed("trade"):
                replay = await self._replay(market, self.events)
            await self._measure_idle(exchange, market)
            self._note_trading(market, replay)
            self.requested = await settling.request_withdrawals(exchange, market.taker_owners[:3])
        return market

    async def _replay(self, market: Market, events: Iterator[Event]) -> Replay:
        replay = Replay(market.maker, market.takers, market.publisher, market.tally)
        await replay.run(
            events,
            operation_limit=self.operations,
            on_progress=lambda done: self.show_progress("feed messages", done, None),
        )
        return replay

    async def _measure_idle(self, exchange: Exchange, market: Market) -> None:
        """Confirmation of single orders when nothing else is going on."""
        trader = await exchange.open_trader(market.taker_owners[0])
        name = market.maker.perpetual.name
        price = str(market.maker.perpetual.price(market.maker.perpetual.base_tick))
        seconds = []
        for _ in range(IDLE_ORDERS // 2):
            placed = await trader.buy(name, "0.001", price=price, post_only=True)
            cancelled = await trader.cancel(placed.order_id)
            seconds += [placed.outcome.seconds, cancelled.seconds]
        self.report.latency_ms["single orders, idle"] = percentiles_ms(seconds)

    def _note_trading(self, market: Market, replay: Replay) -> None:
        tally, counts = market.tally, replay.counts
        market_seconds = (counts.last_ns - counts.first_ns) / 1e9
        self.report.feed |= {
            "messages": counts.messages,
            "depth_updates": counts.depth_updates,
            "book_tickers": counts.book_tickers,
            "trades": counts.trades,
            "market_seconds": round(market_seconds, 3),
            "level_changes": asdict(market.maker.mirror.counts),
        }
        self.report.operations = {
            "total": tally.operation_count,
            "messages": tally.messages,
            "by_kind": dict(tally.operations),
            "rejections": dict(tally.rejections),
            "refused_messages": dict(tally.refusals),
            "taker_lots_filled": tally.filled_lots,
            "per_second": round(tally.operation_count / self.report.seconds["trade"]),
        }
        self.report.latency_ms["messages, full load"] = percentiles_ms(tally.latencies)
        self.report.check(
            "every message was accepted with a receipt that the sequencer signed",
            not tally.refusals,
            f"{tally.messages:,} messages",
        )
        counts_ = market.maker.mirror.counts
        parts = (counts_.new, counts_.changed, counts_.removed, counts_.unchanged, counts_.absent)
        self.report.check(
            "every recorded level change is accounted for",
            counts_.changes == sum(parts) + counts_.outside + counts_.unplaced,
            f"{counts_.changes:,} changes",
        )

    async def settle(self, market: Market) -> None:
        """Batches to L1, finality, withdrawals, derivation; then what must hold."""
        with self.timed("post, claim and finalise"):
            await asyncio.to_thread(
                settling.await_settlement,
                self.stack,
                lambda done, total: self.show_progress("claims on L1", done, total),
            )
        async with await Exchange.connect(self.stack.api_url) as exchange:
            with self.timed("withdraw on L1"):
                await settling.pay_withdrawals(self.stack, exchange, self.requested, self.report)
            with self.timed("derive from L1"):
                derived = await asyncio.to_thread(self._derive)
            await settling.note_batches(exchange, derived, self.report)
            await self._check_state(exchange, derived, market)
        settling.note_l1_transactions(self.stack, self.report)

    def _derive(self) -> DeriveResult:
        return settling.derive_state(
            self.stack.l1_url,
            self.stack.deployment,
            self.stack.genesis,
            self.stack.settings.directory / "derived",
            lambda done, total: self.show_progress("records derived", done, total),
        )

    async def _check_state(self, exchange: Exchange, derived: DeriveResult, market: Market) -> None:
        """Compare what was derived with the node and with L1, and add up the money."""
        report = self.report
        status = await exchange.read("public/status")
        report.derive = derived.to_json()
        del report.derive["records"]
        report.state = settling.describe_state(self.stack, derived)
        report.check("the derived state agrees with every claim on L1", derived.agrees)
        report.check(
            "the derived counters are the node's",
            (derived.fills, derived.inbox_items, derived.withdrawals_count)
            == (status["fills"], status["inbox_position"], status["withdrawals"]),
            f"{derived.fills:,} fills, {derived.inbox_items} deposits",
        )
        report.check("kernel invariants hold in the derived state", report.state["invariants"])
        report.check(
            "money in = money out: deposits = accounts + withdrawals",
            report.state["deposited"] == report.state["cash"] + report.state["withdrawn"]
            and report.state["deposited"] == market.deposited,
            f"{report.state['deposited'] // UNIT:,} deposited",
        )
        paid = sum(entry["paid"] for entry in report.withdrawals)
        report.check(
            "the bridge holds what is owed",
            report.state["custody"] == report.state["deposited"] - paid,
            f"{report.state['custody'] // UNIT:,} in custody",
        )
        report.check("open interest sums to zero", report.state["open_interest_balanced"])
        report.check("there were trades", derived.fills > 0, f"{derived.fills:,} fills")


def _first_index(events: Iterator[Event]) -> tuple[int, Iterator[Event]]:
    """The first middle price of a feed, in millionths, and the feed from its start."""
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if isinstance(event, BookTicker):
            return (event.bid + event.ask) // 2, itertools.chain(seen, events)
        if isinstance(event, DepthUpdate) and event.snapshot:
            return (event.bids[0][0] + event.asks[0][0]) // 2, itertools.chain(seen, events)
    raise CommandError("The feed has neither best prices nor a snapshot, so no price to start at.")


def run_demo(
    stack: Stack, events: Iterator[Event], operations: int | None, bars: Progress, costs: bool
) -> Report:
    """Run the demo on a stack that is not started yet; the stack still runs afterwards."""
    demo = Demo(stack, events, operations, bars)
    with demo.timed("start L1, deploy, start node"):
        stack.start_l1()
        stack.deploy()
        stack.start_node()
    market = asyncio.run(demo.trade())
    asyncio.run(demo.settle(market))
    if costs:
        with demo.timed("measure operation kinds"):
            demo.report.instructions_per_kind = {
                cost.kind: {
                    "instructions": round(cost.instructions, 1),
                    "leaves": round(cost.leaves, 2),
                }
                for cost in measure_operation_costs()
            }
    return demo.report


@app.command()
@command
def demo(
    market_data: Annotated[
        Path | None,
        typer.Option(help="Replay this recorded feed (gzip; Binance futures messages)."),
    ] = None,
    operations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after so many operations; default 60,000, or all of a recording.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(help="Keep all data in this empty directory instead of a temporary one."),
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.json"),
    seed: Annotated[int, typer.Option(help="Seed of the generated flow.")] = 1,
    costs: Annotated[
        bool, typer.Option(help="Also measure instructions of each operation kind.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Deposit, trade, batch, settle and withdraw on a real L1 node, and print the evidence.

    Without a file it plays generated flow with the statistics of the recording. Exits with
    status 1 if any check fails.
    """
    events: Iterator[Event]
    if market_data is None:
        events = FlowGenerator(seed).events()
        operations = operations or DEFAULT_OPERATIONS
    else:
        events = read_events(market_data)
    started = time.perf_counter()
    place = directory or Path(tempfile.mkdtemp(prefix="entresol-demo-"))
    try:
        with progress(as_json) as bars, Stack(StackSettings(directory=place)) as stack:
            found = run_demo(stack, events, operations, bars, costs)
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)
    found.feed["source"] = str(market_data) if market_data else f"generated, seed {seed}"
    found.settings = {"operations": operations, "market_data": found.feed["source"]}
    found.seconds["all"] = round(time.perf_counter() - started, 3)
    found.save(report)
    show(found.as_dict(), as_json, *found.tables())
    notes.print(f"report written to {report}", highlight=False)
    if not found.passed:
        raise CommandError("A check failed: see the table and the report.")
