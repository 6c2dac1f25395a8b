"""Turns the recorded depth of a venue into order slots and quote legs of a market maker.

Each price level becomes one order in a slot of one of the maker's accounts.  A change of the
level replaces that slot's order, so the mirror is right again after every change, whatever was
filled in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from entresol.client.market_data import DepthUpdate, Level
from entresol.kernel import layout

BAND_TICKS = 1024
"""Neighbouring ticks that prefer the same account, so that one message carries many of them.

Of 64 to 2,048, this gave the fewest messages on the recording: 60,900 for 443,521 changes."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What one slot should hold from now on: `lots` at `tick` (absolute), or nothing if zero."""

    account: int  # index into the maker's accounts
    slot: int
    side: int
    tick: int
    lots: int
    is_new: bool = False  # nothing was quoted in the slot before


@dataclass(slots=True)
class MirrorCounts:
    """What became of every recorded level change; the parts add up to `changes`."""

    changes: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0  # same quantity as before
    absent: int = 0  # removal of a level that is not there
    outside: int = 0  # beyond the instrument's price ladder
    unplaced: int = 0  # no free slot left in any account


class DepthMirror:
    """Book of the recorded venue, one slot per level, spread over `accounts` accounts.

    `tick_size` and `contract_size` are in millionths; ladder bounds are absolute ticks, half-open.
    """

    def __init__(
        self, accounts: int, tick_size: int, contract_size: int, first_tick: int, end_tick: int
    ) -> None:
        self.tick_size, self.contract_size = tick_size, contract_size
        self.first_tick, self.end_tick = first_tick, end_tick
        self.counts = MirrorCounts()
        self._levels: tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]] = ({}, {})
        # Highest slot first on the stack, so that low slots are used first.
        self._free = [list(range(layout.SLOTS - 1, 0, -1)) for _ in range(accounts)]
        self._released: list[tuple[int, int]] = []
        self._lots: dict[tuple[int, int], int] = {}

    def lots_at(self, side: int, tick: int) -> int:
        """Lots mirrored at one level."""
        return self._lots.get((side, tick), 0)

    def level_count(self) -> int:
        """Levels mirrored on both sides."""
        return len(self._lots)

    def forget(self, quote: Quote) -> None:
        """Note that `quote` is not in the book after all, so that its next change is sent."""
        if self._levels[quote.side].get(quote.tick) == (quote.account, quote.slot):
            self._lots[quote.side, quote.tick] = 0

    def best(self, side: int) -> int | None:
        """Best mirrored tick of a side; walks the side, so for tests and reports."""
        ticks = self._levels[side]
        if not ticks:
            return None
        return max(ticks) if side == layout.BUY else min(ticks)

    def apply(self, update: DepthUpdate) -> list[Quote]:
        """Return the quotes that carry the mirror to the book after `update`, one per slot.

        Removals come first, so that a book which moves never crosses itself.
        """
        final: dict[tuple[int, int], Quote] = {}  # by account and slot: the last change counts
        for side, levels in ((layout.BUY, update.bids), (layout.SELL, update.asks)):
            if update.snapshot:
                for quote in self._missing_from(side, levels):
                    final[quote.account, quote.slot] = quote
            for price, quantity in levels:
                self.counts.changes += 0 if update.snapshot else 1
                change = self._change(side, price, quantity, counted=not update.snapshot)
                if change is None:
                    continue
                place = (change.account, change.slot)
                final[place] = replace(change, is_new=False) if place in final else change
        # Only now, so that within one update a slot belongs to one level.
        for account, slot in self._released:
            self._free[account].append(slot)
        self._released.clear()
        quotes = final.values()
        return [quote for quote in quotes if not quote.lots] + [q for q in quotes if q.lots]

    def _missing_from(self, side: int, levels: tuple[Level, ...]) -> Iterator[Quote]:
        """Empty the mirrored levels within a snapshot's range that it does not list."""
        listed = {price // self.tick_size for price, _ in levels}
        if not listed:
            return
        low, high = min(listed), max(listed)
        if side == layout.BUY:
            known = [tick for tick in self._levels[side] if tick >= low]
        else:
            known = [tick for tick in self._levels[side] if tick <= high]
        for tick in [tick for tick in known if tick not in listed]:
            yield self._remove(side, tick)

    def _change(self, side: int, price: int, quantity: int, counted: bool) -> Quote | None:
        counts = self.counts if counted else MirrorCounts()
        tick, remainder = divmod(price, self.tick_size)
        if remainder or not self.first_tick <= tick < self.end_tick:
            counts.outside += 1
            return None
        lots = quantity // self.contract_size
        known = self._levels[side].get(tick)
        if known is None and lots == 0:
            counts.absent += 1
            return None
        if known is not None and lots == 0:
            counts.removed += 1
            return self._remove(side, tick)
        is_new = known is None
        if known is None:
            known = self._take_slot(tick)
            if known is None:
                counts.unplaced += 1
                return None
            counts.new += 1
            self._levels[side][tick] = known
        elif self._lots[side, tick] == lots:
            counts.unchanged += 1
            return None
        else:
            counts.changed += 1
        self._lots[side, tick] = lots
        return Quote(known[0], known[1], side, tick, lots, is_new)

    def _take_slot(self, tick: int) -> tuple[int, int] | None:
        preferred = tick // BAND_TICKS
        for offset in range(len(self._free)):
            account = (preferred + offset) % len(self._free)
            if self._free[account]:
                return account, self._free[account].pop()
        return None

    def _remove(self, side: int, tick: int) -> Quote:
        account, slot = self._levels[side].pop(tick)
        del self._lots[side, tick]
        self._released.append((account, slot))
        return Quote(account, slot, side, tick, 0)


def group_quotes(
    quotes: list[Quote], legs: int = layout.MAX_RECORDS_PER_MESSAGE - 1
) -> list[tuple[int, list[Quote]]]:
    """Split quotes into (account, at most `legs` quotes); the order within an account holds."""
    by_account: dict[int, list[Quote]] = {}
    for quote in quotes:
        by_account.setdefault(quote.account, []).append(quote)
    return [
        (account, members[start : start + legs])
        for account, members in by_account.items()
        for start in range(0, len(members), legs)
    ]
