"""More than the node can take is answered with errors, and slow consumers are let go."""

import asyncio
import pathlib

import pytest
import venue
import websockets
from running import connected, running_node

from entresol.node.api import binary
from entresol.node.api.connection import SLOW_CONSUMER
from entresol.node.config import AdmissionConfig, ApiConfig
from entresol.sequencing.outcomes import GatewayRefusal

NAME = "BTC-PERPETUAL"


async def test_overload_answers_every_message(tmp_path: pathlib.Path) -> None:
    members = venue.traders(3)
    limits = AdmissionConfig(pending_messages=40, pending_per_session=30)
    async with running_node(tmp_path, members, admission=limits) as node:
        async with connected(node.port) as client:
            await client.open_venue(members)
        async with connected(node.port) as client:
            signed = [trader.message(2) for _ in range(100) for trader in members]
            pairs = [(m.data, m.signature) for m in signed]
            await client.socket.send(binary.compose_request(1, pairs, with_receipts=False))
            _, error, answers = binary.read_results(await client.frames.get())
            assert error == 0 and len(answers) == len(signed)
            refused = [answer[1] for answer in answers if answer[0] == 1]
            accepted = len(answers) - len(refused)
            assert accepted == 30
            assert set(refused) <= {GatewayRefusal.QUEUE_FULL, 105}
            assert GatewayRefusal.QUEUE_FULL in refused
            status = await client.call("public/status")
            assert status["pending_messages"] == 0
            # Whoever was refused continues from where the node says the lane is.
            for trader in members:
                lane = await client.call("public/get_lane", lane=trader.lane)
                trader.signer.tip = bytes.fromhex(lane["tip"][2:])
                trader.signer.sequence = lane["sequence"]
                again = trader.message(2)
                await client.message(again.data, again.signature)


async def test_a_connection_over_its_rate_is_told(tmp_path: pathlib.Path) -> None:
    api = ApiConfig(port=0, calls_per_second=50, burst_calls=20)
    async with running_node(tmp_path, [], api=api) as node, connected(node.port) as client:
        futures = [await client.send("public/test") for _ in range(60)]
        answers = await asyncio.gather(*futures)
        limited = [answer for answer in answers if "error" in answer]
        assert 20 <= len(limited) <= 40
        assert {answer["error"]["code"] for answer in limited} == {10028}
        await asyncio.sleep(0.5)
        assert await client.call("public/test")
        await asyncio.sleep(0.5)
        await client.socket.send(binary.compose_request(9, [(bytes(64), bytes(65))] * 50))
        request, error, answers_ = binary.read_results(await client.frames.get())
        assert (request, error, answers_) == (9, binary.RATE_LIMITED, [])


async def test_repeated_bad_signatures_end_the_connection(tmp_path: pathlib.Path) -> None:
    members = venue.traders(1)
    api = ApiConfig(port=0, bad_signatures_per_connection=5)
    async with running_node(tmp_path, members, api=api) as node, connected(node.port) as client:
        await client.open_venue(members)
        signed = members[0].message(1)
        for _ in range(6):
            error = await client.error(
                "private/send_message",
                message="0x" + signed.data.hex(),
                signature="0x" + (b"\x01" * 64 + b"\x1b").hex(),
            )
            assert error["data"]["reason"] == "BAD_SIGNATURE"
        with pytest.raises((ConnectionError, websockets.ConnectionClosed)):
            await client.call("public/test")
            await client.call("public/test")
        assert client.socket.close_code == 1008


async def test_a_slow_consumer_is_dropped_and_nobody_else_notices(tmp_path: pathlib.Path) -> None:
    members = venue.traders(2)
    api = ApiConfig(port=0, outgoing_bytes=200_000, lagging_bytes=20_000)
    async with running_node(tmp_path, members, api=api) as node, connected(node.port) as client:
        await client.open_venue(members)
        slow = await websockets.connect(
            f"ws://127.0.0.1:{node.port}/ws/api/v2", compression=None, max_queue=1
        )
        call = '{"id": 1, "method": "public/get_instruments"}'
        reason = node.metrics.dropped_connections.labels(SLOW_CONSUMER.split(":")[0])
        async with asyncio.timeout(60):
            with pytest.raises(websockets.ConnectionClosed):
                while True:  # asks, and never reads
                    await slow.send("[" + ",".join([call] * 100) + "]")
            while not reason._value.get():
                await asyncio.sleep(0.01)
        assert reason._value.get() == 1
        signed = members[0].message(3)
        await client.message(signed.data, signed.signature)
