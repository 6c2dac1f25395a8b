"""`entresol up` in one process and every other command in others, as the README shows them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from entresol.cli.venue import Venue
from entresol.client.exchange import Exchange
from entresol.client.keys import development_key
from entresol.client.subscriptions import follow_book
from entresol.client.synchronous import SyncExchange
from entresol.client.trader import QuoteRequest
from entresol.kernel import layout

MAIN = [sys.executable, "-c", "from entresol.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[2]
PERPETUAL = "BTC-PERPETUAL"


@dataclass
class Running:
    """A venue that `entresol up` runs, and how to run other commands on it."""

    directory: Path
    process: "subprocess.Popen[str]"

    def entresol(self, *arguments: str, status: int = 0) -> Any:
        result = subprocess.run(
            [*MAIN, *arguments, "--venue", str(self.directory), "--json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == status, result.stdout[-1000:] + result.stderr[-2000:]
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("up") / "var"
    process = subprocess.Popen(
        [
            *MAIN, "up", "--directory", str(directory), "--api-port", "0",
            "--challenge-window", "2", "--batch-seconds", "3", "--json",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    announced = json.loads("".join(lines))
    running = Running(directory, process)
    if announced.get("directory") != str(directory):
        process.communicate(timeout=120)
        pytest.fail(f"entresol up said {announced}")
    yield running
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert "Traceback" not in errors


@pytest.mark.timeout(900)
def test_a_trader_goes_all_the_way(venue: Running) -> None:
    deposited = venue.entresol("deposit", "10000")
    assert float(deposited["balance"]) == 10_000
    markets = venue.entresol("book")["markets"]
    assert {PERPETUAL} < {market["instrument_name"] for market in markets}
    book = venue.entresol("book", PERPETUAL, "--depth", "5")
    assert len(book["bids"]) == len(book["asks"]) == 5

    bought = venue.entresol("order", "buy", PERPETUAL, "0.01")
    assert bought["filled"] == "0.01"
    low = str(book["min_price"])
    resting = venue.entresol("order", "buy", PERPETUAL, "0.002", "--price", low, "--post-only")
    assert (resting["filled"], resting["resting"]) == ("0", "0.002")
    account = venue.entresol("positions")
    assert [p["instrument_name"] for p in account["positions"]] == [PERPETUAL]
    assert [o["order_id"] for o in account["open_orders"]] == [resting["order_id"]]
    venue.entresol("cancel", resting["order_id"])
    gone = venue.entresol("cancel", resting["order_id"], status=1)
    assert "slot empty" in gone["error"]
    assert venue.entresol("positions")["open_orders"] == []
    poor = venue.entresol("order", "buy", PERPETUAL, "1000", status=1)
    assert "insufficient margin" in poor["error"]
    between = venue.entresol("order", "buy", PERPETUAL, "0.0001", status=1)
    assert "lot, 0.001" in between["error"]

    withdrawn = venue.entresol("withdraw", "100")
    assert withdrawn["paid"] == withdrawn["amount"] == "100"
    state = venue.entresol("status")
    assert state["node"]["reachable"]
    assert state["l1"]["final"] >= 1
    directory = venue.directory.parent / "derived"
    derived = venue.entresol("derive", "--directory", str(directory))
    assert derived["agrees"]
    assert derived["node"]["verdict"] == "yes"
    again = venue.entresol("derive", "--directory", str(directory), status=1)
    assert "not empty" in again["error"]


@pytest.mark.timeout(300)
def test_the_synchronous_client(venue: Running) -> None:
    place = Venue.load(venue.directory)
    owner = development_key(7, place.deployment.chain_id)
    venue.entresol("deposit", "5000", "--trader", "7")
    with SyncExchange.connect(place.api_url) as exchange:
        trader = exchange.open_trader(owner)
        price = exchange.read("public/ticker", instrument_name=PERPETUAL)["min_price"]
        quote = QuoteRequest(PERPETUAL, layout.BUY, str(price), "0.001", slot=3)
        assert trader.mass_quote([quote]).statuses == (0, 0)
        assert trader.cancel(3).statuses == (0,)
        assert trader.buy(PERPETUAL, "0.001").filled > 0
        trader.cancel_all()


@pytest.mark.timeout(300)
def test_the_example_program(venue: Running) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples/trade.py"), "--venue", str(venue.directory)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "bought 0.01" in result.stdout
    assert "L1 paid 100" in result.stdout


@pytest.mark.timeout(300)
async def test_a_followed_book_is_the_nodes_book(venue: Running) -> None:
    place = Venue.load(venue.directory)
    async with await Exchange.connect(place.api_url) as exchange:
        channel = f"book.{PERPETUAL}.100ms"
        subscription = await exchange.subscribe(channel)
        equal = seen = 0
        async for book in follow_book(subscription, lambda: exchange.resubscribe(channel)):
            seen += 1
            assert book.best_bid is None or book.best_ask is None or book.best_bid < book.best_ask
            shown = await exchange.read(
                "public/get_order_book", instrument_name=PERPETUAL, depth=10_000
            )
            levels = [
                {Decimal(str(price)): Decimal(str(amount)) for price, amount in shown[side]}
                for side in ("bids", "asks")
            ]
            equal += [book.bids, book.asks] == levels
            if equal >= 3 or seen >= 200:
                break
        assert equal >= 3, f"{equal} of {seen} notifications led to the node's own book"
        assert subscription.is_complete
        await exchange.unsubscribe(channel)
