"""The kernel and the twin, driven together: every operation goes to both and must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from tests.twin.exchange import Exchange
from tests.twin.records import Leg, Listing, Order

from entresol.kernel import layout, margin, views
from entresol.kernel.operations.cancel import apply_cancel
from entresol.kernel.operations.cancel_all import apply_cancel_all
from entresol.kernel.operations.expire import apply_expire
from entresol.kernel.operations.list_instrument import apply_list_instrument
from entresol.kernel.operations.mass_quote import apply_mass_quote
from entresol.kernel.operations.oracle_index import apply_oracle_index
from entresol.kernel.operations.oracle_mark import apply_oracle_mark
from entresol.kernel.operations.place import apply_place
from entresol.kernel.rejections import Rejection
from entresol.machine.memory import Memory

RECORD = layout.BATCH_DATA_BASE
EVENT_FIELDS = (
    "kind", "side", "instrument", "status", "account", "slot", "price", "quantity", "label",
)  # fmt: skip
RICH = 10**13
START_MS = 1_700_000_000_000

PERPETUAL = Listing(
    kind=layout.PERPETUAL, underlying=0, symbol=0x435442, tick_size=100_000, contract_size=1_000,
    base_tick=500_000, minimum_lots=1, maximum_lots=100_000, age=60_000,
)  # fmt: skip
"""A BTC perpetual: ticks of 0.1, lots of 0.001, a price band from 50,000 to 76,214."""


def option(kind: int, strike: int, expiry: int = START_MS + 86_400_000, **others: Any) -> Listing:
    """A BTC option with the strike in whole units of collateral and ticks of 1."""
    fields = {
        "kind": kind, "underlying": 0, "strike": strike * 10**6, "expiry": expiry,
        "tick_size": 10**6, "contract_size": 1_000, "base_tick": 1, "minimum_lots": 1,
        "maximum_lots": 100_000, "age": 60_000,
    }  # fmt: skip
    return Listing(**(fields | others))


def set_bits(words: np.ndarray) -> list[int]:
    """Numbers of the bits that are set in an array of u8."""
    raw = np.ascontiguousarray(words).view(np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little")).tolist()


class Pair:
    """A memory and a twin in the same state; account 1 operates, account 2 publishes prices."""

    def __init__(self, accounts: int = 8, cash: int = RICH) -> None:
        self.memory = Memory()
        self.base = self.memory.base
        self.durable = views.durable(self.memory.array)
        self.volatile = views.volatile(self.memory.array)
        self.twin = Exchange(accounts)
        self.durable["header"]["account_count"] = accounts
        self.set_time(START_MS)
        for number in range(3, accounts):
            self.set_cash(number, cash)
        self.set_flags(layout.OPERATOR_ACCOUNT, layout.ACCOUNT_OPERATOR)
        self.set_flags(layout.PUBLISHER_ACCOUNT, layout.ACCOUNT_PUBLISHER)

    # --- what the other parts of the kernel would do --------------------------------------------

    def set_time(self, time: int) -> None:
        self.durable["header"]["last_time_ms"] = time
        self.twin.time = time

    def set_cash(self, account: int, cash: int) -> None:
        self.durable["account"]["cash"][account] = cash
        self.twin.accounts[account].cash = cash

    def set_flags(self, account: int, flags: int) -> None:
        self.durable["account"]["flags"][account] = flags
        self.twin.accounts[account].flags = flags

    # --- operations ----------------------------------------------------------------------------

    def write(self, dtype: np.dtype, position: int = 0, **fields: Any) -> int:
        at = RECORD + position * layout.OPERATION.itemsize
        self.memory.write(at, bytes(dtype.itemsize))
        record = self.memory.view(at, dtype)
        for name, value in fields.items():
            record[name] = value
        return self.base + at

    def run_kernel(
        self, apply: Callable[[int, int, int], int], who: int, dtype: np.dtype, /, **fields: Any
    ) -> Rejection:
        """Apply one record in the kernel alone; a rejection must leave the state untouched."""
        address = self.write(dtype, **fields)
        before = self.state()
        status = Rejection(apply(self.base, who, address))
        if status:
            assert self.state() == before, f"{status.name} changed the state"
        return status

    def state(self) -> bytes:
        """Everything the accounts and instruments in use can have written, levels apart."""
        accounts = len(self.twin.accounts)
        books = len(self.twin.instruments) + 1
        durable, volatile = self.durable, self.volatile
        parts = [
            *(durable[name] for name in ("header", "underlying", "instrument", "risk")),
            *(durable[name][:accounts] for name in ("account", "position_slot", "position")),
            *(volatile[name][:books] for name in ("side", "middle", "bitmap")),
            volatile["slot_used"][:accounts],
            volatile["order"][: accounts * layout.SLOTS],
        ]
        return b"".join(part.tobytes() for part in parts)

    def both(self, kernel: Rejection, twin: Rejection) -> Rejection:
        assert kernel == twin, f"kernel says {kernel.name}, twin {Rejection(twin).name}"
        return kernel

    def place(
        self, who: int, number: int, side: int, price: int, lots: int,
        slot: int = layout.ANY_SLOT, force: int = 0, post_only: bool = False,
        reduce_only: bool = False, label: int = 0,
    ) -> Rejection:  # fmt: skip
        flags = side | force << layout.FLAG_TIME_IN_FORCE_SHIFT
        flags |= layout.FLAG_POST_ONLY * post_only | layout.FLAG_REDUCE_ONLY * reduce_only
        kernel = self.run_kernel(
            apply_place, who, layout.OPERATION, kind=layout.PLACE, flags=flags, instrument=number,
            slot=slot, price=price, quantity=lots, label=label,
        )  # fmt: skip
        twin = self.twin.place(
            who, number, side, price, lots, slot, force, post_only, reduce_only, label
        )
        return self.both(kernel, twin)

    def cancel(self, who: int, slot: int) -> Rejection:
        kernel = self.run_kernel(apply_cancel, who, layout.OPERATION, kind=layout.CANCEL, slot=slot)
        return self.both(kernel, self.twin.cancel(who, slot))

    def cancel_all(self, who: int) -> Rejection:
        kernel = self.run_kernel(apply_cancel_all, who, layout.OPERATION, kind=layout.CANCEL_ALL)
        return self.both(kernel, self.twin.cancel_all(who))

    def mass_quote(self, who: int, legs: Iterable[Leg]) -> Rejection:
        legs = list(legs)
        for position, leg in enumerate(legs):
            self.write(
                layout.OPERATION, position + 1, kind=layout.QUOTE_LEG,
                flags=leg.side | leg.flags, instrument=leg.instrument, slot=leg.slot,
                price=leg.price, quantity=leg.quantity, label=leg.label,
            )  # fmt: skip
        kernel = self.run_kernel(
            apply_mass_quote, who, layout.OPERATION, kind=layout.MASS_QUOTE, count=len(legs)
        )
        return self.both(kernel, self.twin.mass_quote(who, legs))

    def oracle_index(self, value: int, underlying: int = 0, who: int = 2) -> Rejection:
        kernel = self.run_kernel(
            apply_oracle_index, who, layout.OPERATION, kind=layout.ORACLE_INDEX,
            instrument=underlying, value=value,
        )  # fmt: skip
        return self.both(kernel, self.twin.oracle_index(who, underlying, value))

    def oracle_mark(self, number: int, value: int, who: int = 2) -> Rejection:
        kernel = self.run_kernel(
            apply_oracle_mark, who, layout.OPERATION, kind=layout.ORACLE_MARK, instrument=number,
            value=value,
        )  # fmt: skip
        return self.both(kernel, self.twin.oracle_mark(who, number, value))

    def list(self, listing: Listing, who: int = 1) -> Rejection:
        kernel = self.run_kernel(
            apply_list_instrument, who, layout.OWNER_OPERATION, kind=layout.LIST_INSTRUMENT,
            instrument_kind=listing.kind, underlying=listing.underlying, symbol=listing.symbol,
            strike=listing.strike, expires_ms=listing.expiry, tick_size=listing.tick_size,
            contract_size=listing.contract_size, base_tick=listing.base_tick,
            margin_class=listing.margin_class, minimum_lots=listing.minimum_lots,
            maximum_lots=listing.maximum_lots, maximum_age_ms=listing.age,
        )  # fmt: skip
        return self.both(kernel, self.twin.list_instrument(who, listing))

    def expire(self, number: int, who: int = 3) -> Rejection:
        kernel = self.run_kernel(
            apply_expire, who, layout.OPERATION, kind=layout.EXPIRE, instrument=number
        )
        return self.both(kernel, self.twin.expire(who, number))

    # --- comparison ----------------------------------------------------------------------------

    def take_events(self) -> list[tuple[int, ...]]:
        """The kernel's events since the last call; they must be the twin's."""
        run = self.memory.view(layout.SCRATCH_RUN_BASE, layout.RUN)
        count = int(run["event_count"])
        assert count <= layout.MAX_EVENTS
        ring = self.memory.view(layout.SCRATCH_EVENTS, layout.EVENT, count)
        events = [tuple(int(event[name]) for name in EVENT_FIELDS) for event in ring]
        run["event_count"] = 0
        assert events == [tuple(map(int, event)) for event in self.twin.events]
        self.twin.events.clear()
        return events

    def check(self) -> None:
        """Every account, book, instrument and event must be the same on both sides."""
        self.take_events()
        for number in range(len(self.twin.accounts)):
            self.check_account(number)
        for number in range(len(self.twin.instruments)):
            self.check_instrument(number)
            self.check_book(number, layout.BUY)
            self.check_book(number, layout.SELL)

    def check_account(self, number: int) -> None:
        twin = self.twin.accounts[number]
        record = self.durable["account"][number]
        assert int(record["cash"]) == twin.cash
        assert int(record["order_count"]) == len(twin.orders)
        count = int(record["position_count"])
        assert count == len(twin.positions())
        for index in range(layout.POSITIONS):
            position = self.durable["position"][number, index]
            if index >= count:
                assert not bytes(position.tobytes()).strip(b"\0")
                continue
            self.check_position(number, index, position)
        assert margin.margin_balance(self.base, number) == self.twin.margin_balance(twin)
        assert margin.initial_requirement(self.base, number) == self.twin.initial_requirement(twin)
        assert margin.maintenance_requirement(
            self.base, number
        ) == self.twin.maintenance_requirement(twin)
        assert margin.withdrawable(self.base, number) == self.twin.withdrawable(twin)
        used = self.volatile["slot_used"][number]
        slots = {64 * w + b for w in range(8) for b in range(64) if int(used[w]) >> b & 1}
        assert slots == set(twin.orders)
        for slot, order in twin.orders.items():
            self.check_order(self.volatile["order"][number * layout.SLOTS + slot], order)

    def check_position(self, account: int, index: int, position: np.void) -> None:
        twin = self.twin.accounts[account]
        number = int(position["instrument"])
        assert int(self.durable["position_slot"][account, number]) == index + 1
        assert int(position["quantity"]) == twin.quantity(number)
        assert int(position["open_buy"]) == twin.open_lots(number, layout.BUY)
        assert int(position["open_sell"]) == twin.open_lots(number, layout.SELL)
        assert int(position["open_reserve"]) == self.twin.reserves(twin, number)
        orders = [order for order in twin.orders.values() if order.instrument == number]
        assert int(position["order_count"]) == len(orders)

    def check_order(self, record: np.void, order: Order) -> None:
        base_tick = self.twin.instruments[order.instrument].listing.base_tick
        found = {
            name: int(record[name])
            for name in ("instrument", "side", "remaining", "flags", "label", "reserve", "quantity")
        }
        assert found == {name: getattr(order, name) for name in found}
        assert int(record["tick"]) + base_tick == order.price

    def check_instrument(self, number: int) -> None:
        twin = self.twin.instruments[number]
        record = self.durable["instrument"][number]
        risk = self.durable["risk"][number]
        assert int(record["status"]) == twin.status
        assert int(record["delivery_value"]) == twin.delivery
        holdings = [account.quantity(number) for account in self.twin.accounts]
        assert sum(holdings) == 0 or twin.status == layout.SETTLING
        assert int(record["open_interest"]) == sum(lots for lots in holdings if lots > 0)
        names = "mark_value", "initial_long", "initial_short", "maintenance_long"
        found = [int(risk[name]) for name in (*names, "maintenance_short")]
        assert twin.status == layout.SETTLED or found == list(self.twin.per_lot(twin))

    def check_book(self, number: int, side: int) -> None:
        orders = self.twin.book(number, side)
        record = self.volatile["side"][number, side]
        assert int(record["order_count"]) == len(orders)
        base_tick = self.twin.instruments[number].listing.base_tick
        ticks = list(dict.fromkeys(order.price - base_tick for order in orders))
        mirror = layout.TICKS - 1 if side == layout.BUY else 0
        indices = [tick ^ mirror for tick in ticks]
        assert int(record["best"]) == (indices[0] if indices else layout.EMPTY_BOOK_SIDE)
        assert set_bits(self.volatile["bitmap"][number, side]) == indices
        words = sorted({index >> 6 for index in indices})
        assert set_bits(self.volatile["middle"][number, side]) == words
        groups = {word >> 6 for word in words}
        assert int(record["summary"]) == sum(1 << group for group in groups)
        for tick in ticks:
            self.check_queue(number, tick, [o for o in orders if o.price == tick + base_tick])

    def check_queue(self, number: int, tick: int, orders: list[Order]) -> None:
        level = self.volatile["level"][number, tick]
        ids = [order.account * layout.SLOTS + order.slot for order in orders]
        assert (int(level["head"]), int(level["tail"])) == (ids[0], ids[-1])
        for previous, current, following in zip([0, *ids], ids, [*ids[1:], 0], strict=False):
            record = self.volatile["order"][current]
            assert (int(record["previous"]), int(record["next"])) == (previous, following)
