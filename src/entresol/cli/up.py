"""`entresol up`: one command from nothing to a venue that trades."""

import asyncio
import contextlib
import itertools
import signal
from pathlib import Path
from typing import Annotated

import typer

from entresol.cli.opening import MarketPlan, open_market
from entresol.cli.output import CommandError, Json, command, notes, print_json, progress
from entresol.cli.stack import Stack, StackSettings
from entresol.cli.venue import DEFAULT_VENUE, FIRST_TRADER
from entresol.client.exchange import Exchange
from entresol.client.flow import FlowGenerator
from entresol.client.market_data import BookTicker
from entresol.client.replay import Replay, Rhythm

app = typer.Typer()

PLAN = MarketPlan(depth_accounts=16, takers=2, first_taker=18, expiries=3, strikes_per_side=3)
"""A smaller market than the demo's; its takers are the last development accounts."""


@app.command()
@command
def up(
    directory: Annotated[
        Path, typer.Option(help="Directory of the venue; it must be empty or absent.")
    ] = DEFAULT_VENUE,
    api_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the API.")] = 8545,
    l1_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the L1 node.")] = 0,
    challenge_window: Annotated[
        int, typer.Option(min=1, help="Seconds until a claim on L1 is final.")
    ] = 20,
    batch_seconds: Annotated[
        float, typer.Option(min=0.5, help="Seconds until a batch is sealed and posted.")
    ] = 10.0,
    market: Annotated[bool, typer.Option(help="Run a market maker and takers.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the generated flow.")] = 1,
    as_json: Json = False,
) -> None:
    """Start L1 node, contracts, exchange node and a market maker; Ctrl-C stops everything.

    Then, in a second terminal: entresol book, deposit, order, positions, withdraw, status, derive.
    """
    settings = StackSettings(
        directory=directory,
        challenge_window=challenge_window,
        api_port=api_port,
        l1_port=l1_port,
        batch_age_ms=int(1_000 * batch_seconds),
    )
    with Stack(settings) as stack:
        with progress(as_json) as bars:
            task = bars.add_task("starting the L1 node", total=None)
            stack.start_l1()
            bars.update(task, description="deploying the contracts")
            stack.deploy()
            bars.update(task, description="starting the exchange node")
            stack.start_node()
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_serve(stack, market, seed, as_json))
        if not stack.node.is_running:
            raise CommandError(f"The node stopped: {stack.node.last_words()}")


async def _serve(stack: Stack, with_market: bool, seed: int, as_json: bool) -> None:
    """Run the market until the process is told to stop or the node ends."""
    main = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, main.cancel)  # type: ignore[union-attr]
    async with await Exchange.connect(stack.api_url) as exchange:
        watcher = asyncio.create_task(_watch(stack, main))
        try:
            if with_market:
                await _trade(stack, exchange, seed, as_json)
            else:
                _announce(stack, as_json)
                await asyncio.Event().wait()
        finally:
            watcher.cancel()


async def _watch(stack: Stack, main: "asyncio.Task[None] | None") -> None:
    while stack.node.is_running:
        await asyncio.sleep(0.5)
    if main is not None:
        main.cancel()


async def _trade(stack: Stack, exchange: Exchange, seed: int, as_json: bool) -> None:
    events = FlowGenerator(seed).events()
    seen = list(itertools.islice(events, 3))
    ticker = next(event for event in seen if isinstance(event, BookTicker))
    index = (ticker.bid + ticker.ask) // 2
    with progress(as_json) as bars:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = int(bars.add_task(what, total=total))
            bars.update(tasks[what], completed=done)  # type: ignore[arg-type]

        market = await open_market(stack, exchange, index, PLAN, show)
    _announce(stack, as_json)
    replay = Replay(
        market.maker, market.takers, market.publisher, market.tally, rhythm=Rhythm(is_paced=True)
    )
    await replay.run(itertools.chain(seen, events))


def _announce(stack: Stack, as_json: bool) -> None:
    document = {
        "api": stack.api_url,
        "l1": stack.l1_url,
        "directory": str(stack.settings.directory),
        "first_trader": FIRST_TRADER,
    }
    if as_json:
        print_json(document)
        return
    notes.print(f"exchange   {stack.api_url}", highlight=False)
    notes.print(f"L1 node    {stack.l1_url}", highlight=False)
    notes.print(f"venue      {stack.settings.directory}", highlight=False)
    notes.print("Ctrl-C stops everything.", highlight=False)
