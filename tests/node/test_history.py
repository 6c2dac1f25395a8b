"""History is complete after a crash, written once, and asks for patience rather than forget."""

import asyncio
import pathlib
import sqlite3

import venue
from running import configuration, connected, running_node

from entresol.kernel import layout
from entresol.node.history import FULL_PACKETS, HISTORY_FILE, History
from entresol.node.node import Node
from entresol.sequencing.open_batch import BatchLimits

TABLES = ("trade", "order_event", "message", "block")


def rows(directory: pathlib.Path) -> dict[str, list]:
    connection = sqlite3.connect(directory / "data" / HISTORY_FILE)
    found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
    connection.close()
    return found


async def test_history_is_the_same_after_losing_its_file(tmp_path: pathlib.Path) -> None:
    members = venue.traders(2)
    limits = BatchLimits(
        blocks=3, age_ms=10**9, operations=10**6, estimated_bytes=10**6, inbox_items=10**3
    )
    async with running_node(tmp_path, members, batch=limits) as node, connected(node.port) as c:
        await c.open_venue(members)
        for _ in range(20):
            for trader in members:
                signed = trader.message(6)
                await c.message(signed.data, signed.signature)
        fills = (await c.call("public/status"))["fills"]
    before = rows(tmp_path)
    assert len(before["trade"]) == fills > 0
    assert len(before["message"]) == 41  # 20 each, and the publisher's prices
    path = tmp_path / "data" / HISTORY_FILE
    for part in tmp_path.glob(f"data/{HISTORY_FILE}*"):
        part.unlink()
    node = Node(configuration(tmp_path))
    await node.start()
    await node.stop()
    assert rows(tmp_path) == before
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM trade WHERE id % 2")
    connection.execute("DELETE FROM complete")
    connection.commit()
    connection.close()
    node = Node(configuration(tmp_path))
    await node.start()
    async with connected(node.port) as c:
        trades = []
        end = None
        while page := (
            await c.call(
                "public/get_last_trades_by_instrument",
                instrument_name="BTC-PERPETUAL",
                count=7,
                **({"end_id": end} if end else {}),
            )
        )["trades"]:
            trades += page
            end = page[-1]["trade_id"]
        await asyncio.sleep(0)
    await node.stop()
    assert rows(tmp_path) == before
    assert [int(t["trade_id"]) for t in reversed(trades)] == [row[0] for row in before["trade"]]


def test_a_full_queue_is_said_and_nothing_is_left_out(tmp_path: pathlib.Path) -> None:
    history = History(tmp_path)
    for number in range(FULL_PACKETS + 500):
        history.note_sealed(number)
    assert history.is_full or history.waiting < FULL_PACKETS
    history.close()
    assert history.complete_block == FULL_PACKETS + 499
    assert not history.failed


def test_a_writer_that_dies_is_noticed(tmp_path: pathlib.Path) -> None:
    history = History(tmp_path)
    history._process.kill()
    history._process.join()
    for _ in range(1000):
        history.note_sealed(layout.ACCOUNTS)
    history._thread.join(10)
    assert history.failed
    history.close()
