"""Channels: shared state, deltas, and a snapshot for whoever was passed over."""

import asyncio
import json
import pathlib

import pytest
import venue
from running import connected, running_node

from entresol.client.operations import cancel, place
from entresol.kernel import layout
from entresol.node.api.errors import ApiError

NAME = "BTC-PERPETUAL"


class Listener:
    """A subscriber in this process whose queue may be called long."""

    def __init__(self) -> None:
        self.is_lagging = False
        self.received: list[dict] = []

    def deliver(self, notification: bytes) -> None:
        self.received.append(json.loads(notification)["params"]["data"])


async def test_a_lagging_subscriber_gets_a_snapshot_when_it_has_caught_up(
    tmp_path: pathlib.Path,
) -> None:
    (trader,) = members = venue.traders(1)
    async with running_node(tmp_path, members) as node, connected(node.port) as client:
        await client.open_venue(members)
        quick, slow = Listener(), Listener()
        for listener in (quick, slow):
            node.feed.subscribe(listener, f"book.{NAME}.100ms")

        async def change(slot: int, count: int) -> None:
            signed = trader.sign(place(0, layout.BUY, 1000 + slot, 5, slot=slot))
            await client.message(signed.data, signed.signature)
            async with asyncio.timeout(10):
                while len(quick.received) < count:
                    await asyncio.sleep(0.01)

        await change(1, 2)
        slow.is_lagging = True
        await change(2, 3)
        await change(3, 4)
        slow.is_lagging = False
        await change(4, 5)
        assert [data["type"] for data in quick.received] == ["snapshot"] + ["change"] * 4
        assert [data["type"] for data in slow.received] == ["snapshot", "change", "snapshot"]
        assert slow.received[-1]["change_id"] == quick.received[-1]["change_id"]
        assert len(slow.received[-1]["bids"]) == 4
        late = Listener()
        node.feed.subscribe(late, f"book.{NAME}.100ms")
        assert late.received[0]["change_id"] == quick.received[-1]["change_id"]
        signed = trader.sign(cancel(2))
        await client.message(signed.data, signed.signature)
        async with asyncio.timeout(10):
            while len(late.received) < 2:
                await asyncio.sleep(0.01)
        assert late.received[1]["bids"] == [["delete", 501, 0]]
        for listener in (quick, slow, late):
            node.feed.forget(listener)
        assert not node.feed._channels


async def test_channels_that_do_not_exist_are_refused(tmp_path: pathlib.Path) -> None:
    async with running_node(tmp_path, []) as node:
        for name in (
            "",
            ".",
            "book",
            "book.BTC-PERPETUAL.100ms",
            "user.orders.x",
            "user.orders.99999999",
            "user.orders.3.1h",
            "deribit_price_index.btc_usdc",
            "platform",
        ):
            with pytest.raises(ApiError):
                node.feed.subscribe(Listener(), name)
        assert not node.feed._channels
