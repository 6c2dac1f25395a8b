"""The API of a real node on loopback: what a trader sees, and what bad input gets."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import venue
import websockets
from running import Client, connected, running_node

from entresol.client.operations import cancel, place
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal, Rejection
from entresol.node.api import binary
from entresol.node.api.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_OPEN_ORDER,
    PARSE_ERROR,
    POST_ONLY_REJECT,
    PRICE_WRONG_TICK,
    RETRY,
    UNAUTHORIZED,
)
from entresol.node.node import Node
from entresol.rollup.message import Operation
from entresol.sequencing.receipts import Receipt, verify_receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = venue.traders(4)
NAME = "BTC-PERPETUAL"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with running_node(tmp_path_factory.mktemp("api"), MEMBERS) as node:
        async with connected(node.port) as client:
            await client.open_venue(MEMBERS)
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: Node) -> AsyncIterator[Client]:
    async with connected(node.port) as client:
        yield client


def state(node: Node) -> bytes:
    """The header: it changes with every accepted operation."""
    return node.memory.read(layout.DURABLE_BASE, 4096)


async def quiet_state(node: Node) -> bytes:
    """The header once the open block is closed."""
    while node.sequencer._open:
        await asyncio.sleep(0.005)
    return state(node)


def signed_call(trader: venue.Trader, operation: Operation) -> dict[str, Any]:
    """The header fields and the signature of a call that stands for one operation."""
    message = trader.sign(operation)
    valid_until = int.from_bytes(message.data[8:16], "little")
    return {
        "lane": trader.lane,
        "sequence": message.sequence,
        "valid_until": valid_until,
        "signature": "0x" + message.signature.hex(),
    }


async def buy(client: Client, trader: venue.Trader, ticks: int, lots: int, **more: Any) -> Any:
    operation = place(0, layout.BUY, ticks, lots, post_only=more.get("post_only", False))
    return await (
        await client.send(
            "private/buy",
            instrument_name=NAME,
            amount=str(lots / 1000),
            price=ticks * 0.5,
            **signed_call(trader, operation),
            **more,
        )
    )


async def test_a_trader_buys_sees_and_cancels_by_deribits_names(client: Client) -> None:
    trader, maker = MEMBERS[0], MEMBERS[1]
    tick = venue.MARK_TICK
    answer = (await buy(client, trader, tick - 20, 7))["result"]
    order = answer["order"]
    assert order["order_state"] == "open" and order["price"] == (tick - 20) / 2
    assert order["amount"] == 0.007 and answer["trades"] == []
    book = await client.call("public/get_order_book", instrument_name=NAME, depth=5)
    assert [(tick - 20) / 2, 0.007] in book["bids"] and book["mark_price"] == 60000
    sell = place(0, layout.SELL, tick - 20, 3)
    filled = await client.call(
        "private/sell",
        instrument_name=NAME,
        contracts=3,
        price=str((tick - 20) / 2),
        **signed_call(maker, sell),
    )
    assert filled["order"]["order_state"] == "filled"
    assert [trade["amount"] for trade in filled["trades"]] == [0.003]
    account = trader.account
    orders = await client.call("private/get_open_orders", account=account, instrument_name=NAME)
    assert [(o["order_id"], o["filled_amount"]) for o in orders] == [(order["order_id"], 0.003)]
    positions = await client.call("private/get_positions", account=account)
    assert [(p["direction"], p["size"]) for p in positions] == [("buy", 0.003)]
    slot = int(order["order_id"].split("-")[1])
    gone = await client.call(
        "private/cancel", order_id=order["order_id"], **signed_call(trader, cancel(slot))
    )
    assert gone["order_state"] == "cancelled" and gone["amount"] == 0.007
    again = await client.error(
        "private/cancel", order_id=order["order_id"], **signed_call(trader, cancel(slot))
    )
    assert again["code"] == NOT_OPEN_ORDER and again["data"]["reason"] == "SLOT_EMPTY"
    trades = await client.call("public/get_last_trades_by_instrument", instrument_name=NAME)
    assert trades["trades"][0]["amount"] == 0.003
    summary = await client.call("private/get_account_summary", account=account)
    assert summary["equity"] < 10**7 + 1 and summary["open_orders"] == 0


async def test_rejections_are_errors_with_deribits_numbers_and_ours(client: Client) -> None:
    trader = MEMBERS[0]
    tick = venue.MARK_TICK
    rest = MEMBERS[1].sign(place(0, layout.SELL, tick + 9, 5, slot=100))
    await client.message(rest.data, rest.signature)
    answer = await buy(client, trader, tick + 30, 2, post_only=True)
    assert answer["error"]["code"] == POST_ONLY_REJECT
    data = answer["error"]["data"]
    assert (data["reason"], data["number"]) == (
        "POST_ONLY_WOULD_CROSS",
        Rejection.POST_ONLY_WOULD_CROSS,
    )
    assert data["entresol"]["sequence"] == trader.signer.sequence, "the message itself stands"
    fields = signed_call(trader, place(0, layout.BUY, tick, 1))
    wrong = await client.error(
        "private/buy", instrument_name=NAME, contracts=1, price="60000.3", **fields
    )
    assert wrong["code"] == PRICE_WRONG_TICK
    unsigned = {**fields, "signature": "0x" + "11" * 65}
    refused = await client.error(
        "private/buy", instrument_name=NAME, contracts=1, price="60000", **unsigned
    )
    assert refused["code"] == UNAUTHORIZED and refused["data"]["number"] == Refusal.BAD_SIGNATURE
    assert refused["data"]["sequence"] == fields["sequence"] - 1
    late = await client.error(
        "private/buy",
        instrument_name=NAME,
        contracts=1,
        price="60000",
        **{**fields, "sequence": fields["sequence"] + 5},
    )
    assert late["code"] == RETRY and late["data"]["tip"].startswith("0x")
    unknown = await client.error(
        "private/buy", instrument_name=NAME, contracts=1, price=1, stop_price=5, **fields
    )
    assert unknown["code"] == INVALID_PARAMS, "a field the node would ignore is refused"
    await client.call("private/buy", instrument_name=NAME, contracts=1, price="60000", **fields)


async def test_receipts_verify_and_can_be_asked_for_again(node: Node, client: Client) -> None:
    signed = MEMBERS[2].message(3)
    result = await client.message(signed.data, signed.signature)
    domain = await client.call("public/get_venue")
    async with asyncio.timeout(20):
        while True:
            answer = await (
                await client.send(
                    "public/get_receipt", lane=MEMBERS[2].lane, sequence=signed.sequence
                )
            )
            if "result" in answer:
                break
            await asyncio.sleep(0.05)
    assert answer["result"] == result["receipt"]
    fields = dict(answer["result"])
    signature = bytes.fromhex(fields.pop("signature")[2:])
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = bytes.fromhex(value[2:])
    receipt = Receipt(**fields)
    assert receipt.tip == signed.tip
    sequencer = bytes.fromhex(domain["sequencer"][2:])
    assert verify_receipt(receipt, signature, node.domain, sequencer)


async def test_book_deltas_rebuild_the_book(client: Client) -> None:
    channel = f"book.{NAME}.100ms"
    await client.call("public/subscribe", channels=[channel])
    for _ in range(12):
        for trader in MEMBERS:
            signed = trader.message(8)
            await client.message(signed.data, signed.signature)
        await asyncio.sleep(0.04)
    await asyncio.sleep(0.4)
    updates = [n["data"] for n in client.notifications if n["channel"] == channel]
    assert updates[0]["type"] == "snapshot" and len(updates) >= 3
    sides: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    change_id = None
    for update in updates:
        if update["type"] == "snapshot":
            sides = {"bids": {}, "asks": {}}
        else:
            assert update["prev_change_id"] == change_id
        change_id = update["change_id"]
        for name, levels in sides.items():
            for action, price, amount in update[name]:
                if action == "delete":
                    del levels[price]
                else:
                    assert (price in levels) == (action == "change")
                    levels[price] = amount
    book = await client.call("public/get_order_book", instrument_name=NAME, depth=10000)
    assert sides["bids"] == dict(map(tuple, book["bids"]))
    assert sides["asks"] == dict(map(tuple, book["asks"]))


async def test_account_and_trade_streams_tell_both_sides(client: Client) -> None:
    maker, taker = MEMBERS[2], MEMBERS[3]
    tick = venue.MARK_TICK - 2
    for trader in MEMBERS:
        signed = trader.sign(Operation(kind=layout.CANCEL_ALL))
        await client.message(signed.data, signed.signature)
    names = [
        f"user.orders.{maker.account}",
        f"user.trades.{maker.account}",
        f"user.trades.{taker.account}.raw",
        f"trades.{NAME}.raw",
        f"ticker.{NAME}.100ms",
        "deribit_price_index.btc_usdc",
    ]
    assert await client.call("private/subscribe", channels=names) == names
    rest = maker.sign(place(0, layout.BUY, tick, 4, slot=200, label=77))
    await client.message(rest.data, rest.signature)
    take = taker.sign(place(0, layout.SELL, tick, 4, slot=201, label=88))
    await client.message(take.data, take.signature)
    orders = await client.notified(names[0], 2)
    mine = [order for order in orders if order["order_id"] == f"{maker.account}-200"]
    assert [order["order_state"] for order in mine] == ["open", "filled"]
    (made,) = [t for t in await client.notified(names[1]) if t["label"] == 77]
    assert (made["liquidity"], made["direction"], made["amount"]) == ("M", "buy", 0.004)
    (taken,) = [t for t in await client.notified(names[2]) if t["label"] == 88]
    assert (taken["liquidity"], taken["direction"]) == ("T", "sell")
    assert taken["trade_id"] == made["trade_id"]
    assert (await client.notified(names[3]))[0][-1]["direction"] == "sell"
    assert (await client.notified(names[5]))[0]["price"] == 60000
    await client.call("private/unsubscribe", channels=names)


async def test_http_answers_the_same_calls(node: Node) -> None:
    base = f"http://127.0.0.1:{node.port}"
    async with httpx.AsyncClient(base_url=base) as http:
        read = (await http.get("/api/v2/public/ticker", params={"instrument_name": NAME})).json()
        assert read["result"]["mark_price"] == 60000
        bad = await http.get("/api/v2/public/ticker", params={"instrument_name": "XYZ"})
        assert bad.json()["error"]["code"] == INVALID_PARAMS
        signed = MEMBERS[3].message(2)
        call = {
            "jsonrpc": "2.0",
            "id": "a",
            "method": "private/send_message",
            "params": {
                "message": "0x" + signed.data.hex(),
                "signature": "0x" + signed.signature.hex(),
            },
        }
        answers = (
            await http.post("/api/v2", json=[call, {**call, "method": "public/test"}])
        ).json()
        assert answers[0]["id"] == "a" and answers[0]["result"]["sequence"] == signed.sequence
        refused = {**call, "method": "public/subscribe", "params": {"channels": []}}
        assert (await http.post("/api/v2", json=refused)).json()["error"]["code"] == 10030
        assert "entresol_operations_total" in (await http.get("/metrics")).text
        assert (await http.get("/health")).status_code == 200
        huge = await http.post("/api/v2", content=b"x" * (2 << 20))
        assert huge.status_code == 400
        assert huge.json()["error"]["data"]["reason"] == "TOO_LARGE"


async def test_binary_frames_carry_many_messages(node: Node, client: Client) -> None:
    trader = MEMBERS[3]
    messages = [trader.message(4) for _ in range(5)]
    pairs = [(m.data, m.signature) for m in messages]
    await client.socket.send(binary.compose_request(7, pairs))
    request, error, answers = binary.read_results(await client.frames.get())
    assert (request, error, len(answers)) == (7, 0, 5)
    for message, (kind, block, index, sequence, tip, records, receipt) in zip(
        messages, answers, strict=True
    ):
        assert (kind, sequence, tip, len(records)) == (0, message.sequence, message.tip, 4)
        position, inbox_hash, previous, signature = receipt
        signed = Receipt(position, inbox_hash, block, index, trader.lane, sequence, tip, previous)
        assert verify_receipt(signed, signature, node.domain, node.sequencer_address)
    await client.socket.send(binary.compose_request(8, pairs[:1], with_receipts=False))
    _, _, ((kind, reason, sequence, tip),) = binary.read_results(await client.frames.get())
    assert (kind, reason) == (1, Refusal.WRONG_SEQUENCE)
    assert (sequence, tip) == (messages[-1].sequence, messages[-1].tip)


ODD_TEXTS = [
    ("", PARSE_ERROR),
    ("{", PARSE_ERROR),
    ("\x00", PARSE_ERROR),
    ("null", INVALID_REQUEST),
    ("7", INVALID_REQUEST),
    ('"x"', INVALID_REQUEST),
    ("{}", INVALID_REQUEST),
    ("[]", INVALID_REQUEST),
    ("[" * 100_000, PARSE_ERROR),
    ('{"method": 5}', INVALID_REQUEST),
    ('{"method": "public/test", "jsonrpc": "1.0"}', INVALID_REQUEST),
    ('{"method": "public/test", "id": {}}', INVALID_REQUEST),
    ('{"method": "public/none"}', METHOD_NOT_FOUND),
    ('{"method": "public/ticker"}', INVALID_PARAMS),
    ('{"method": "public/ticker", "params": []}', INVALID_PARAMS),
    ('{"method": "public/ticker", "params": {"instrument_name": 3}}', INVALID_PARAMS),
    ('{"method": "public/get_lane", "params": {"lane": 1e99}}', INVALID_PARAMS),
    ('{"method": "public/get_lane", "params": {"lane": -1}}', INVALID_PARAMS),
    ('{"method": "public/get_lane", "params": {"lane": 4611686018427387904}}', 13020),
    (
        '{"method": "public/get_receipt", "params": {"lane": 1, "sequence": 4000000000000000000}}',
        13020,
    ),
    ('{"method": "public/get_withdrawal_proof", "params": {"index": 9}}', 13020),
    (
        '{"method": "public/get_withdrawal_proof", '
        '"params": {"index": 0, "count": 4611686018427387904}}',
        13020,
    ),
    (
        '{"method": "public/get_account", '
        '"params": {"owner": "0x", "subaccount": 4611686018427387904}}',
        INVALID_PARAMS,
    ),
    ('{"method": "private/get_positions", "params": {"account": 99999999}}', 13020),
    ('{"method": "public/subscribe", "params": {"channels": ["book"]}}', INVALID_PARAMS),
    ('{"method": "public/get_batches", "params": {"count": 0}}', INVALID_PARAMS),
    ('{"method": "private/send_message", "params": {"message": "zz"}}', INVALID_PARAMS),
    ('{"method": "private/send_message", "params": {"message": "0x00"}}', INVALID_PARAMS),
    ('{"method": "private/owner_operation", "params": {"message": "0x00"}}', INVALID_PARAMS),
]


@pytest.mark.parametrize(("text", "code"), ODD_TEXTS, ids=range(len(ODD_TEXTS)))
async def test_malformed_calls_get_numbered_errors(node: Node, text: str, code: int) -> None:
    before = await quiet_state(node)
    async with websockets.connect(f"ws://127.0.0.1:{node.port}/ws/api/v2") as socket:
        await socket.send(text)
        answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
        assert answer["error"]["code"] == code, answer
        assert answer["error"]["message"] and "reason" in answer["error"]["data"]
        await socket.send('{"jsonrpc": "2.0", "id": 1, "method": "public/test"}')
        assert json.loads(await socket.recv())["result"]["version"]
    assert state(node) == before


def scramble(choose: random.Random, data: bytes) -> bytes:
    """`data` with bytes changed, cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(choose.randrange(1, 4)):
        at = choose.randrange(len(changed) + 1)
        match choose.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([choose.randrange(256)])
            case 1:
                del changed[at : at + choose.randrange(1, 40)]
            case 2:
                changed[at:at] = changed[at : at + choose.randrange(1, 40)]
            case _:
                changed[at:at] = choose.randbytes(choose.randrange(1, 40))
    return bytes(changed)


async def test_scrambled_messages_and_frames_change_nothing(node: Node) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    choose = random.Random(seed)
    trader = MEMBERS[0]
    signed = trader.message(6)
    before = await quiet_state(node)
    frame = binary.compose_request(1, [(signed.data, signed.signature)])
    for _ in range(3):
        async with connected(node.port) as client:
            for _ in range(60):
                data = scramble(choose, signed.data)
                if data == signed.data:
                    continue
                error = await client.error(
                    "private/send_message",
                    message="0x" + data.hex(),
                    signature="0x" + signed.signature.hex(),
                )
                assert isinstance(error["code"], int) and error["data"]["reason"], error
            for _ in range(30):
                broken = scramble(choose, frame)
                await client.socket.send(broken)
                answer = await asyncio.wait_for(client.frames.get(), 10)
                _, failed, answers = binary.read_results(answer)
                whole = broken[2:4] == frame[2:4] and broken[8:] == frame[8:]
                if whole:
                    break  # only the request number or a flag was changed: it is a good frame
                assert failed == binary.MALFORMED or all(kind == 1 for kind, *_ in answers)
        if state(node) != before:
            break
    if not whole:
        assert await quiet_state(node) == before
        async with connected(node.port) as client:
            await client.message(signed.data, signed.signature)


async def test_the_wire_survives_rubbish_and_oversize(node: Node) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(b"\x16\x03\x01 not http at all\r\n\r\n")
    await writer.drain()
    await asyncio.wait_for(reader.read(), 10)
    writer.close()
    async with websockets.connect(f"ws://127.0.0.1:{node.port}/ws/api/v2") as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await socket.send("x" * (2 << 20))
            await socket.recv()
        assert socket.close_code == 1009
    async with connected(node.port) as client:
        assert await client.call("public/get_time") > 0
