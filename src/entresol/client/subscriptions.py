"""Channels of the node as asynchronous iterators, and a book that notices missing deltas."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

MAX_WAITING: Final = 10_000
"""Notifications kept for a slow reader; beyond that the oldest go and `is_complete` turns False."""


class Subscription:
    """Notifications of one channel, in order; iterate over it."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.is_complete = True
        """False once notifications were lost: a slow reader, or a connection made again."""
        self._waiting: deque[Any] = deque()
        self._arrived = asyncio.Event()
        self._ended = False

    def deliver(self, data: Any) -> None:
        """Called by the connection for each notification."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.is_complete = False
        self._waiting.append(data)
        self._arrived.set()

    def note_gap(self) -> None:
        """Called when the connection was made again: something may be missing."""
        self.is_complete = False

    def end(self) -> None:
        """Called when the exchange is closed: iteration ends after what is waiting."""
        self._ended = True
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


@dataclass(slots=True)
class LocalBook:
    """A book kept from a snapshot and deltas; prices to amounts, as exact decimals."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    change_id: int | None = None

    def apply(self, data: dict[str, Any]) -> bool:
        """Apply a notification; False when deltas are missing, so that a snapshot is needed."""
        if data.get("type") == "snapshot" or "prev_change_id" not in data:
            self.bids.clear()
            self.asks.clear()
        elif self.change_id is None or data["prev_change_id"] != self.change_id:
            self.change_id = None
            return False
        self.change_id = data["change_id"]
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for action, price, amount in levels:
                if action == "delete" or not amount:
                    side.pop(Decimal(str(price)), None)
                else:
                    side[Decimal(str(price))] = Decimal(str(amount))
        return True

    @property
    def best_bid(self) -> Decimal | None:
        """Highest price somebody pays."""
        return max(self.bids, default=None)

    @property
    def best_ask(self) -> Decimal | None:
        """Lowest price somebody asks."""
        return min(self.asks, default=None)


async def follow_book(
    subscription: Subscription, resubscribe: Callable[[], Any]
) -> AsyncIterator[LocalBook]:
    """Yield the book after every notification; on a gap ask for a new snapshot and go on."""
    book = LocalBook()
    async for data in subscription:
        if book.apply(data):
            yield book
        else:
            await resubscribe()
