"""How many operations a second the kernel does: the order book alone, and with everything.

`benchmark_matching` runs place and cancel on one ladder with the kernel's own book functions and
no accounts, margin or events.  `benchmark_margin` runs the exchange's operations on a realistic
mix: many markets, accounts with a dozen positions, margin, fees and events.  Both return a
dictionary with operations per second of processor time (cores are often shared; the kernel is one
thread) and a hash of the result, which must not depend on the machine.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from entresol.kernel import layout, views
from entresol.kernel.events import fold_outcome
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.operations.cancel import apply_cancel
from entresol.kernel.operations.list_instrument import apply_list_instrument
from entresol.kernel.operations.mass_quote import apply_mass_quote
from entresol.kernel.operations.oracle_index import apply_oracle_index
from entresol.kernel.operations.oracle_mark import apply_oracle_mark
from entresol.kernel.operations.place import apply_place
from entresol.kernel.order_book import (
    append_order,
    clear_level,
    opposite_limit,
    retire_slot,
    side_index,
    unlink_order,
)
from entresol.kernel.subset import entry_point, i64, kernel_function, load_i64, store_i64
from entresol.kernel.views import durable_at, operation_at, volatile_at
from entresol.machine.memory import Memory

SEED = 20_261_120
START_MS = 1_700_000_000_000
INDEX = 60_000 * 10**6
ROUNDS = 5

_RECORD = layout.OPERATION.itemsize
_SLOT_BITS = layout.SLOTS.bit_length() - 1


# --- the book alone ------------------------------------------------------------------------------


@kernel_function
def _take(memory: int, side: int, limit: int, lots: int) -> int:
    """Match against the queues of `side` up to index `limit`; returns the lots left."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    record = volatile.side[0, side & 1]
    while lots > 0 and i64(record.best) <= limit:
        index = i64(record.best)
        level = volatile.level[0, side_index(index, side) & (layout.TICKS - 1)]
        number = i64(level.head)
        while number != 0 and lots > 0:
            order = volatile.order[number & (layout.ORDERS - 1)]
            remaining = i64(order.remaining)
            if remaining > lots:
                order.remaining = remaining - lots
                lots = i64(0)
                break
            lots -= remaining
            following = i64(order.next)
            retire_slot(memory, durable, volatile, number)
            record.order_count = i64(record.order_count) - 1
            number = following
        level.head = number
        if number == 0:
            level.tail = 0
            clear_level(volatile, i64(0), side, index)
        else:
            volatile.order[number & (layout.ORDERS - 1)].previous = 0
    return lots


@entry_point("int64(int64, int64, int64)")
def _run_matching(memory: int, address: int, count: int) -> int:
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    traded = i64(0)
    for number in range(count):
        operation = operation_at(address + number * _RECORD)
        order = (i64(operation.account) << _SLOT_BITS) | i64(operation.slot)
        if i64(operation.kind) == layout.CANCEL:
            if i64(volatile.order[order & (layout.ORDERS - 1)].remaining) != 0:
                unlink_order(volatile, order)
                retire_slot(memory, durable, volatile, order)
        else:
            side = i64(operation.flags) & 1
            tick = i64(operation.price)
            lots = i64(operation.quantity)
            left = _take(memory, 1 - side, opposite_limit(tick, side), lots)
            traded += lots - left
            if left > 0:
                append_order(
                    volatile, durable, order, i64(0), side, tick, left, i64(0), i64(0), i64(0)
                )
    return traded


def matching_operations(count: int, seed: int = SEED) -> np.ndarray:
    """A stream of 57 % new orders and 43 % cancels around one price, about 4,000 orders live."""
    random = np.random.default_rng(seed)
    records = np.zeros(count, layout.OPERATION)
    live: list[tuple[int, int]] = []
    free = [(account, slot) for account in range(1, 33) for slot in range(layout.SLOTS)]
    draws = random.random((count, 4))
    distance = random.geometric(0.02, count)
    for row in range(count):
        record = records[row]
        crowded = 0.55 if len(live) > 4_000 else 0.25
        if live and draws[row, 0] < crowded:
            account, slot = live.pop(int(draws[row, 1] * len(live)))
            free.append((account, slot))
            record["kind"] = layout.CANCEL
        else:
            account, slot = free.pop(int(draws[row, 1] * len(free)))
            live.append((account, slot))
            side = int(draws[row, 2] < 0.5)
            away = int(distance[row]) if draws[row, 3] > 0.2 else -2
            record["kind"] = layout.PLACE
            record["flags"] = side
            record["price"] = 100_000 + (away if side else -away)
            record["quantity"] = 1 + int(draws[row, 3] * 20)
        record["account"], record["slot"] = account, slot
    return records


def benchmark_matching(count: int = 200_000) -> dict[str, Any]:
    """Operations per second of the order book alone; the best of several rounds."""
    operations = matching_operations(count)
    best = float("inf")
    for _ in range(ROUNDS):
        memory = Memory()
        volatile = views.volatile(memory.array)
        volatile["side"]["best"][0] = layout.EMPTY_BOOK_SIDE
        # Warm the pages, as a running exchange has them.
        _run_matching(memory.base, operations.ctypes.data, count)
        for order in volatile["order"][: 33 * layout.SLOTS]["remaining"].nonzero()[0]:
            _cancel_bare(memory.base, int(order))
        start = time.process_time()
        traded = _run_matching(memory.base, operations.ctypes.data, count)
        best = min(best, time.process_time() - start)
    orders = volatile["order"][: 33 * layout.SLOTS]
    return {
        "operations": count,
        "operations_per_second": count / best,
        "lots_traded": int(traded),
        "live_orders": int(np.count_nonzero(orders["remaining"])),
        "result_hash": _hash(orders.tobytes(), volatile["side"][0].tobytes()),
    }


@entry_point("void(int64, int64)")
def _cancel_bare(memory: int, number: int) -> None:
    volatile = volatile_at(memory + VOLATILE_BASE)
    unlink_order(volatile, number)
    retire_slot(memory, durable_at(memory + DURABLE_BASE), volatile, number)


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


# --- the exchange --------------------------------------------------------------------------------

UNDERLYINGS = 4
OPTIONS_PER_UNDERLYING = 15
ACCOUNTS = 1_024
FAVOURITES = 12
"""Instruments each account trades in: it ends with about that many positions."""

FIRST_ACCOUNT = 3
_MIX = {"cancel": 0.41, "passive": 0.47, "aggressive": 0.10, "quote": 0.01, "mark": 0.01}


class Market:
    """A memory with 64 listed and priced instruments and funded accounts, without a chain."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.durable = views.durable(self.memory.array)
        header = self.durable["header"]
        header["account_count"] = FIRST_ACCOUNT + ACCOUNTS
        header["last_time_ms"] = START_MS
        accounts = self.durable["account"]
        accounts["flags"][layout.OPERATOR_ACCOUNT] = layout.ACCOUNT_OPERATOR
        accounts["flags"][layout.PUBLISHER_ACCOUNT] = layout.ACCOUNT_PUBLISHER
        accounts["cash"][FIRST_ACCOUNT : FIRST_ACCOUNT + ACCOUNTS] = 10**13
        self.base_ticks: list[int] = []
        for underlying in range(UNDERLYINGS):
            self._list(underlying, layout.PERPETUAL, 0)
            self._publish(apply_oracle_index, underlying, INDEX)
            for number in range(OPTIONS_PER_UNDERLYING):
                kind = layout.CALL if number % 2 else layout.PUT
                self._list(underlying, kind, (53_000 + 1_000 * number) * 10**6)
                self._publish(apply_oracle_mark, len(self.base_ticks) - 1, 2_000 * 10**6)

    def _list(self, underlying: int, kind: int, strike: int) -> None:
        perpetual = kind == layout.PERPETUAL
        record = np.zeros(1, layout.OWNER_OPERATION)
        base_tick = 500_000 if perpetual else 1
        for name, value in {
            "kind": layout.LIST_INSTRUMENT, "instrument_kind": kind, "underlying": underlying,
            "symbol": 0x4142 + underlying if perpetual else 0, "strike": strike,
            "expires_ms": 0 if perpetual else START_MS + 10**9,
            "tick_size": 100_000 if perpetual else 10**6, "contract_size": 1_000,
            "base_tick": base_tick, "minimum_lots": 1, "maximum_lots": 100_000,
            "maximum_age_ms": 60_000,
        }.items():  # fmt: skip
            record[name] = value
        status = apply_list_instrument(
            self.memory.base, layout.OPERATOR_ACCOUNT, record.ctypes.data
        )
        if status != 0:
            raise RuntimeError(f"the benchmark's listing was rejected with {status}")
        self.base_ticks.append(base_tick)

    def _publish(self, apply: Any, number: int, value: int) -> None:
        record = np.zeros(1, layout.OPERATION)
        record["instrument"], record["value"] = number, value
        if apply(self.memory.base, layout.PUBLISHER_ACCOUNT, record.ctypes.data) != 0:
            raise RuntimeError("the benchmark's price was rejected")


@entry_point("void(int64, int64, int64, int64, int64)")
def _run_mix(memory: int, address: int, accounts: int, count: int, statuses: int) -> None:
    """Apply `count` records; `accounts` (int64) says whose each is, statuses are counted."""
    number = i64(0)
    while number < count:
        at = address + number * _RECORD
        operation = operation_at(at)
        account = load_i64(accounts + 8 * number)
        kind = i64(operation.kind)
        status = i64(0)
        if kind == layout.PLACE:
            status = apply_place(memory, account, at)
        elif kind == layout.CANCEL:
            status = apply_cancel(memory, account, at)
        elif kind == layout.MASS_QUOTE:
            status = apply_mass_quote(memory, account, at)
            number += i64(operation.count)
        elif kind == layout.ORACLE_INDEX:
            status = apply_oracle_index(memory, account, at)
        else:
            status = apply_oracle_mark(memory, account, at)
        fold_outcome(memory, status)
        store_i64(statuses + 8 * status, load_i64(statuses + 8 * status) + 1)
        number += 1


class _Flow:
    """Draws operations of the mix one by one, remembering which slots should be in use."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        instruments = UNDERLYINGS * (1 + OPTIONS_PER_UNDERLYING)
        self.favourites = [
            self.random.choice(instruments, FAVOURITES, replace=False) for _ in range(ACCOUNTS)
        ]
        self.used: list[set[int]] = [set() for _ in range(ACCOUNTS)]
        self.live: list[tuple[int, int]] = []
        self.records: list[tuple[int, dict[str, int]]] = []

    def price(self, instrument: int, side: int, away: int) -> int:
        middle = 600_000 if instrument % (1 + OPTIONS_PER_UNDERLYING) == 0 else 2_000
        return middle + away if side else middle - away

    def order(self, kind: str, account: int) -> None:
        random = self.random
        instrument = int(self.favourites[account][random.integers(FAVOURITES)])
        side = int(random.integers(2))
        away = int(random.geometric(0.05)) if kind == "passive" else -int(random.integers(1, 4))
        slot = next(slot for slot in range(layout.SLOTS) if slot not in self.used[account])
        fields = {
            "kind": layout.PLACE, "flags": side, "instrument": instrument, "slot": slot,
            "price": self.price(instrument, side, away), "quantity": int(random.integers(1, 20)),
        }  # fmt: skip
        if kind == "passive":
            self.used[account].add(slot)
            self.live.append((account, slot))
        else:
            fields["flags"] |= layout.IMMEDIATE_OR_CANCEL << layout.FLAG_TIME_IN_FORCE_SHIFT
        self.records.append((account, fields))

    def cancel(self) -> None:
        account, slot = self.live.pop(int(self.random.integers(len(self.live))))
        self.used[account].discard(slot)
        self.records.append((account, {"kind": layout.CANCEL, "slot": slot}))

    def quote(self, account: int) -> None:
        self.records.append((account, {"kind": layout.MASS_QUOTE, "count": 5}))
        instrument = int(self.favourites[account][0])
        for leg in range(5):
            price = self.price(instrument, leg & 1, int(self.random.integers(1, 30)))
            self.records.append(
                (account, {
                    "kind": layout.QUOTE_LEG, "flags": leg & 1, "instrument": instrument,
                    "slot": 400 + leg, "price": price, "quantity": 5,
                })
            )  # fmt: skip

    def mark(self) -> None:
        publisher = layout.PUBLISHER_ACCOUNT - FIRST_ACCOUNT
        if self.random.random() < 0.2:
            value = INDEX + int(self.random.integers(-10, 10)) * 10**5
            fields = {"kind": layout.ORACLE_INDEX, "instrument": 0, "value": value}
            fields["instrument"] = int(self.random.integers(UNDERLYINGS))
        else:
            number = int(self.random.integers(1, 1 + OPTIONS_PER_UNDERLYING))
            value = (2_000 + int(self.random.integers(-5, 5))) * 10**6
            fields = {"kind": layout.ORACLE_MARK, "instrument": number, "value": value}
        self.records.append((publisher, fields))


def mix_operations(count: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """About `count` operations of the reference mix: (OPERATION records, whose each is)."""
    flow = _Flow(seed)
    names = list(_MIX)
    draws = flow.random.choice(len(names), count, p=list(_MIX.values()))
    owners = flow.random.integers(0, ACCOUNTS, count)
    for draw, owner in zip(draws.tolist(), owners.tolist(), strict=True):
        kind = names[draw]
        if kind == "cancel" and flow.live:
            flow.cancel()
        elif kind == "quote":
            flow.quote(owner)
        elif kind == "mark":
            flow.mark()
        else:
            flow.order("passive" if kind == "cancel" else kind, owner)
    records = np.zeros(len(flow.records), layout.OPERATION)
    for row, (_, fields) in enumerate(flow.records):
        for name, value in fields.items():
            records[name][row] = value
    accounts = np.array([FIRST_ACCOUNT + account for account, _ in flow.records], np.int64)
    return records, accounts


def benchmark_margin(count: int = 200_000) -> dict[str, Any]:
    """Operations per second with margin, fees and events on the reference mix; best of rounds.

    The first half of the operations fills books and positions and is not timed.
    """
    records, accounts = mix_operations(2 * count)
    half = int(np.searchsorted(np.cumsum(records["kind"] != layout.QUOTE_LEG), count, "right"))
    best = float("inf")
    for _ in range(ROUNDS):
        market = Market()
        base = market.memory.base
        statuses = np.zeros(64, np.int64)
        _run_mix(base, records.ctypes.data, accounts.ctypes.data, half, statuses.ctypes.data)
        statuses[:] = 0
        start = time.process_time()
        _run_mix(
            base, records[half:].ctypes.data, accounts[half:].ctypes.data, len(records) - half,
            statuses.ctypes.data,
        )  # fmt: skip
        best = min(best, time.process_time() - start)
    done = int(statuses.sum())
    header = market.durable["header"]
    active = market.durable["account"]["position_count"]
    return {
        "operations": done,
        "operations_per_second": done / best,
        "statuses": {int(i): int(statuses[i]) for i in np.flatnonzero(statuses)},
        "fills": int(header["fill_count"]),
        "positions_per_account": float(active[FIRST_ACCOUNT : FIRST_ACCOUNT + ACCOUNTS].mean()),
        "result_hash": _hash(
            market.durable["account"][: FIRST_ACCOUNT + ACCOUNTS].tobytes(),
            int(header["outcome_digest"]).to_bytes(8, "little"),
        ),
    }


if __name__ == "__main__":
    print(benchmark_matching())
    print(benchmark_margin())
