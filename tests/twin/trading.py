"""The twin's books: orders, matching, cancelling, mass quotes."""

from __future__ import annotations

import copy

from tests.twin.ledger import Ledger
from tests.twin.records import MAKERS, POSITION_LOTS, TRADING_CASH, Account, Leg, Order, ceiling

from entresol.kernel import layout
from entresol.kernel.rejections import Rejection

UNTOUCHED = (Rejection.MALFORMED, Rejection.SLOT_OUT_OF_RANGE, Rejection.SLOT_IN_USE)
"""Statuses of a leg that names no usable slot: it leaves everything as it was."""


class Trading(Ledger):
    """Everything that rests, meets or removes orders."""

    # --- books ---------------------------------------------------------------------------------

    def book(self, number: int, side: int) -> list[Order]:
        """Resting orders of one side, best price first, oldest first."""
        orders = [
            order
            for account in self.accounts
            for order in account.orders.values()
            if (order.instrument, order.side) == (number, side)
        ]
        sign = -1 if side == layout.BUY else 1
        return sorted(orders, key=lambda order: (sign * order.price, order.sequence))

    def crossing(self, number: int, side: int, price: int) -> list[Order]:
        """Orders that an order of `side` at `price` would meet, in the order it meets them."""
        others = self.book(number, 1 - side)
        if side == layout.BUY:
            return [order for order in others if order.price <= price]
        return [order for order in others if order.price >= price]

    def emit(self, kind: int, side: int, number: int, status: int, *rest: int) -> None:
        self.events.append((kind, side, number, status, *rest))

    def emit_order(self, kind: int, order: Order, status: int, lots: int) -> None:
        self.emit(
            kind, order.side, order.instrument, status, order.account, order.slot, order.price,
            lots, order.label,
        )  # fmt: skip

    def remove(self, order: Order, reason: Rejection) -> None:
        self.emit_order(layout.EVENT_ORDER_REMOVED, order, reason, order.remaining)
        del self.accounts[order.account].orders[order.slot]

    def rest(self, order: Order) -> None:
        self.sequence += 1
        order.sequence = self.sequence
        order.quantity = order.remaining
        self.accounts[order.account].orders[order.slot] = order
        self.emit_order(layout.EVENT_ORDER_RESTED, order, 0, order.remaining)

    def reserve_of(self, number: int, side: int, price: int) -> int:
        instrument = self.instruments[number]
        if instrument.is_option:
            return price if side == layout.BUY else 0
        mark = self.per_lot(instrument)[0]
        worse = price * instrument.tick_value - mark
        if side == layout.SELL:
            worse = -worse
        return max(ceiling(worse, instrument.tick_value), 0)

    # --- orders --------------------------------------------------------------------------------

    def check_tradable(self, number: int) -> Rejection:
        if number >= len(self.instruments):
            return Rejection.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        expired = instrument.is_option and self.time >= instrument.listing.expiry
        if instrument.status != layout.TRADING or expired:
            return Rejection.INSTRUMENT_NOT_TRADING
        underlying = self.underlyings[instrument.listing.underlying]
        times = [underlying.time] if underlying.index else [0]
        if instrument.is_option:
            times.append(instrument.mark_time)
        if any(time == 0 or self.time - time > underlying.age for time in times):
            return Rejection.ORACLE_STALE
        return Rejection.APPLIED

    def check_terms(self, number: int, price: int, lots: int) -> Rejection:
        listing = self.instruments[number].listing
        if not listing.base_tick <= price < self.instruments[number].top:
            return Rejection.PRICE_OUT_OF_RANGE
        if not listing.minimum_lots <= lots <= listing.maximum_lots:
            return Rejection.QUANTITY_OUT_OF_RANGE
        return Rejection.APPLIED

    def check_room(
        self, account: Account, positions: set[int], number: int, side: int, lots: int
    ) -> Rejection:
        if number not in positions and len(positions) >= layout.POSITIONS:
            return Rejection.POSITIONS_FULL
        quantity = account.quantity(number)
        held = quantity if side == layout.BUY else -quantity
        if held + account.open_lots(number, side) + lots > POSITION_LOTS:
            return Rejection.POSITION_LIMIT
        return Rejection.APPLIED

    def choose_slot(self, account: Account, slot: int) -> int | Rejection:
        if slot == layout.ANY_SLOT:
            for free in range(layout.SLOTS):
                if free not in account.orders:
                    return free
            return Rejection.SLOTS_FULL
        if slot >= layout.SLOTS:
            return Rejection.SLOT_OUT_OF_RANGE
        return Rejection.SLOT_IN_USE if slot in account.orders else slot

    def place(
        self, who: int, number: int, side: int, price: int, lots: int, slot: int,
        force: int = layout.GOOD_TIL_CANCELLED, post_only: bool = False,
        reduce_only: bool = False, label: int = 0,
    ) -> Rejection:  # fmt: skip
        account = self.accounts[who]
        if force == 3 or (force and post_only):
            return Rejection.MALFORMED
        status = self.check_tradable(number) or self.check_terms(number, price, lots)
        if status:
            return status
        chosen = self.choose_slot(account, slot)
        if isinstance(chosen, Rejection):
            return chosen
        if reduce_only:
            signed = account.quantity(number) * (-1 if side == layout.BUY else 1)
            lots = min(lots, max(signed, 0))
            if lots == 0:
                return Rejection.REDUCE_ONLY_INCREASES
        makers = self.crossing(number, side, price)
        if makers and post_only:
            return Rejection.POST_ONLY_WOULD_CROSS
        status = self.check_room(account, account.positions(), number, side, lots)
        if status:
            return status
        if force == layout.FILL_OR_KILL:
            sure = [
                order.remaining
                for order in makers[:MAKERS]
                if order.account != who and not order.flags & layout.FLAG_REDUCE_ONLY
            ]
            if sum(sure) < lots:
                return Rejection.FILL_OR_KILL_UNFILLED
        flags = side | force << layout.FLAG_TIME_IN_FORCE_SHIFT
        flags |= layout.FLAG_POST_ONLY * post_only | layout.FLAG_REDUCE_ONLY * reduce_only
        order = Order(
            who, chosen, number, side, price, lots, flags, label,
            self.reserve_of(number, side, price), lots,
        )  # fmt: skip
        instrument = self.instruments[number]
        fee = lots * self.fees(instrument, price * instrument.tick_value)[0] if makers else 0
        if not self.order_passes(account, order, fee):
            return Rejection.INSUFFICIENT_MARGIN
        self.execute(order, makers, force)
        return Rejection.APPLIED

    def execute(self, order: Order, makers: list[Order], force: int) -> None:
        met = 0
        for maker in makers:
            if order.remaining == 0 or met == MAKERS:
                break
            met += 1
            self.meet(order, maker)
        if order.remaining == 0:
            return
        if force == layout.GOOD_TIL_CANCELLED and met < MAKERS:
            self.rest(order)
        else:
            reason = Rejection.NOT_RESTING if force else Rejection.MATCH_LIMIT
            self.emit_order(layout.EVENT_ORDER_REMOVED, order, reason, order.remaining)

    def meet(self, order: Order, maker: Order) -> None:
        if maker.account == order.account:
            self.remove(maker, Rejection.SELF_TRADE)
            return
        owner = self.accounts[maker.account]
        lots = min(order.remaining, maker.remaining)
        allowed = lots
        if maker.flags & layout.FLAG_REDUCE_ONLY:
            held = owner.quantity(maker.instrument)
            closing = -held if maker.side == layout.BUY else held
            allowed = min(lots, max(closing, 0))
        if allowed:
            self.emit_order(layout.EVENT_FILL_MAKER, maker, 0, allowed)
            self.trade(order, maker, allowed)
        maker.remaining -= allowed
        if allowed < lots:
            self.remove(maker, Rejection.REDUCE_ONLY_INCREASES)
        elif maker.remaining == 0:
            del owner.orders[maker.slot]
        if allowed:
            self.emit(
                layout.EVENT_FILL_TAKER, order.side, order.instrument, 0, order.account,
                order.slot, maker.price, allowed, order.label,
            )  # fmt: skip
            order.remaining -= allowed

    def trade(self, order: Order, maker: Order, lots: int) -> None:
        instrument = self.instruments[order.instrument]
        value = maker.price * instrument.tick_value
        taker_fee, maker_fee = self.fees(instrument, value)
        for party, side, fee in (
            (order.account, order.side, taker_fee),
            (maker.account, maker.side, maker_fee),
        ):
            account = self.accounts[party]
            signed = lots if side == layout.BUY else -lots
            account.cash -= signed * value + lots * fee
            account.holdings[order.instrument] = account.quantity(order.instrument) + signed
            self.accounts[layout.HOUSE_ACCOUNT].cash += lots * fee

    def cancel(self, who: int, slot: int) -> Rejection:
        if slot >= layout.SLOTS:
            return Rejection.SLOT_OUT_OF_RANGE
        order = self.accounts[who].orders.get(slot)
        if order is None:
            return Rejection.SLOT_EMPTY
        self.remove(order, Rejection.CANCELLED)
        return Rejection.APPLIED

    def cancel_all(self, who: int) -> Rejection:
        for slot in sorted(self.accounts[who].orders):
            self.remove(self.accounts[who].orders[slot], Rejection.CANCELLED)
        return Rejection.APPLIED

    # --- mass quote ----------------------------------------------------------------------------

    def mass_quote(self, who: int, legs: list[Leg]) -> Rejection:
        account = self.accounts[who]
        after = copy.deepcopy(account)
        positions = account.positions()
        slots: set[int] = set()
        plan: list[tuple[Leg, Rejection, Order | None]] = []
        for leg in legs:
            status, order = self.plan_leg(who, after, positions, slots, leg)
            slots.add(leg.slot)
            plan.append((leg, status, order))
        before = self.initial_requirement(account)
        risen = sum(self.requirement(after, number) for number in positions)
        if risen > before:
            sane = abs(account.cash) <= TRADING_CASH
            if not sane or self.margin_balance(account) < risen:
                return Rejection.INSUFFICIENT_MARGIN
        for leg, status, _ in plan:
            touched = status not in (
                Rejection.MALFORMED,
                Rejection.SLOT_OUT_OF_RANGE,
                Rejection.SLOT_IN_USE,
            )
            if touched and leg.slot in account.orders:
                self.remove(account.orders[leg.slot], Rejection.CANCELLED)
        for leg, planned, order in plan:
            status = planned
            if order is not None:
                if self.crossing(order.instrument, order.side, order.price):
                    status = Rejection.POST_ONLY_WOULD_CROSS
                else:
                    self.rest(order)
            if status:
                self.emit(
                    layout.EVENT_QUOTE_LEG, leg.side, leg.instrument, status, who, leg.slot,
                    leg.price, leg.quantity, leg.label,
                )  # fmt: skip
        return Rejection.APPLIED

    def plan_leg(
        self, who: int, after: Account, positions: set[int], slots: set[int], leg: Leg
    ) -> tuple[Rejection, Order | None]:
        """Judge one leg against the account as earlier legs left it, which it changes."""
        if leg.flags:
            return Rejection.MALFORMED, None
        if leg.slot >= layout.SLOTS:
            return Rejection.SLOT_OUT_OF_RANGE, None
        if leg.slot in slots:
            return Rejection.SLOT_IN_USE, None
        old = after.orders.pop(leg.slot, None)
        if leg.quantity == 0:
            return (Rejection.APPLIED if old else Rejection.SLOT_EMPTY), None
        status = (
            self.check_tradable(leg.instrument)
            or self.check_terms(leg.instrument, leg.price, leg.quantity)
            or self.check_room(after, positions, leg.instrument, leg.side, leg.quantity)
        )
        if status:
            return status, None
        positions.add(leg.instrument)
        order = Order(
            who, leg.slot, leg.instrument, leg.side, leg.price, leg.quantity,
            layout.FLAG_POST_ONLY, leg.label,
            self.reserve_of(leg.instrument, leg.side, leg.price), leg.quantity,
        )  # fmt: skip
        after.orders[leg.slot] = order
        return Rejection.APPLIED, order
