"""A slow, plain exchange: the rules of the kernel written a second time, from the rules.

Orders are objects in dictionaries, a book is a sorted scan, sums are recomputed whenever they
are needed, integers are Python's.  Nothing here imports kernel code but the numbers of its
interface (layout.py's enumerations, rejections, the margin table and the work bounds).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from entresol.kernel import layout
from entresol.kernel.instruments import MARGIN_CLASSES
from entresol.kernel.rejections import Rejection as R

MILLION = 1_000_000
LOT_VALUE = 1 << 34
PRICE = 1 << 42
POSITION_LOTS = 1 << 21
TRADING_CASH = 1 << 59
MAKERS = 1 << 10
EXPIRE_ORDERS = 128
EXPIRE_ACCOUNTS = 512


def ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


@dataclass
class Underlying:
    symbol: int
    age: int
    highest: int
    index: int = 0
    time: int = 0


@dataclass
class Listing:
    """What LIST_INSTRUMENT says."""

    kind: int = layout.PERPETUAL
    underlying: int = 0
    symbol: int = 0
    strike: int = 0
    expiry: int = 0
    tick_size: int = 0
    contract_size: int = 0
    base_tick: int = 0
    margin_class: int = 0
    minimum_lots: int = 1
    maximum_lots: int = 1
    age: int = 1


@dataclass
class Instrument:
    listing: Listing
    tick_value: int
    status: int = layout.TRADING
    mark: int = 0
    mark_time: int = 0
    delivery: int = 0
    cursor: int = 0

    @property
    def is_option(self) -> bool:
        return self.listing.kind != layout.PERPETUAL

    @property
    def rates(self):
        return MARGIN_CLASSES[self.listing.margin_class][self.is_option]

    @property
    def top(self) -> int:
        """First price above the ladder."""
        dearest = LOT_VALUE // self.tick_value
        return min(self.listing.base_tick + layout.TICKS, dearest + 1)


@dataclass
class Order:
    account: int
    slot: int
    instrument: int
    side: int
    price: int
    remaining: int
    flags: int
    label: int
    reserve: int
    quantity: int
    sequence: int = 0


@dataclass
class Account:
    cash: int = 0
    flags: int = 0
    holdings: dict[int, int] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)

    def positions(self) -> set[int]:
        held = {number for number, lots in self.holdings.items() if lots}
        return held | {order.instrument for order in self.orders.values()}

    def quantity(self, instrument: int) -> int:
        return self.holdings.get(instrument, 0)

    def open_lots(self, instrument: int, side: int) -> int:
        return sum(
            order.remaining
            for order in self.orders.values()
            if (order.instrument, order.side) == (instrument, side)
        )


@dataclass
class Leg:
    slot: int
    instrument: int
    side: int
    price: int
    quantity: int
    label: int = 0
    flags: int = 0  # beyond the side bit: makes the leg malformed


class Exchange:
    """Books, ledger and margin; every method that is an operation returns its Rejection."""

    def __init__(self, accounts: int) -> None:
        self.time = 0
        self.underlyings: list[Underlying] = []
        self.instruments: list[Instrument] = []
        self.accounts = [Account() for _ in range(accounts)]
        self.events: list[tuple[int, ...]] = []
        self.sequence = 0

    # --- prices and margin ---------------------------------------------------------------------

    def index_of(self, instrument: Instrument) -> int:
        return self.underlyings[instrument.listing.underlying].index

    def per_lot(self, instrument: Instrument) -> tuple[int, int, int, int, int]:
        """(value in equity, initial long, initial short, maintenance long, maintenance short)."""
        size = instrument.listing.contract_size
        rates = instrument.rates
        index = self.index_of(instrument)
        if instrument.status != layout.TRADING:
            return 0, 0, instrument.delivery, 0, instrument.delivery
        if index == 0:
            return 0, 0, 0, 0, 0
        if not instrument.is_option:
            value = index * size // MILLION
            initial = ceiling(value * rates.initial, MILLION)
            maintenance = ceiling(value * rates.maintenance, MILLION)
            return value, initial, initial, maintenance, maintenance
        value = ceiling(index * size, MILLION)
        mark = ceiling(instrument.mark * size, MILLION)
        strike = instrument.listing.strike
        is_call = instrument.listing.kind == layout.CALL
        away = max(strike - index if is_call else index - strike, 0) * size // MILLION
        initial = max(
            ceiling(value * rates.initial, MILLION) - away,
            ceiling(value * rates.initial_floor, MILLION),
        )
        maintenance = ceiling(value * rates.maintenance, MILLION)
        if not is_call:
            maintenance = max(maintenance, ceiling(mark * rates.maintenance, MILLION))
        return 0, 0, max(initial + mark, maintenance + mark), 0, maintenance + mark

    def requirement(self, account: Account, number: int) -> int:
        """Initial requirement of one instrument, reserves included."""
        _, long, short, _, _ = self.per_lot(self.instruments[number])
        quantity = account.quantity(number)
        worst = max(
            (quantity + account.open_lots(number, layout.BUY)) * long,
            (account.open_lots(number, layout.SELL) - quantity) * short,
            0,
        )
        return worst + self.reserves(account, number)

    def reserves(self, account: Account, number: int) -> int:
        tick_value = self.instruments[number].tick_value
        return sum(
            order.reserve * order.remaining * tick_value
            for order in account.orders.values()
            if order.instrument == number
        )

    def margin_balance(self, account: Account) -> int:
        return account.cash + sum(
            lots * self.per_lot(self.instruments[number])[0]
            for number, lots in account.holdings.items()
        )

    def initial_requirement(self, account: Account) -> int:
        return sum(self.requirement(account, number) for number in account.positions())

    def maintenance_of(self, number: int, quantity: int) -> int:
        _, _, _, long, short = self.per_lot(self.instruments[number])
        return max(quantity * long, -quantity * short)

    def maintenance_requirement(self, account: Account) -> int:
        return sum(self.maintenance_of(number, lots) for number, lots in account.holdings.items())

    def withdrawable(self, account: Account) -> int:
        return max(self.margin_balance(account) - self.initial_requirement(account), 0)

    def order_passes(self, account: Account, order: Order, fee: int) -> bool:
        if abs(account.cash) > TRADING_CASH:
            return False
        number = order.instrument
        quantity = account.quantity(number)
        held_open = account.open_lots(number, order.side)
        with_order = copy.deepcopy(account)
        with_order.orders[order.slot] = order
        if self.requirement(with_order, number) <= self.requirement(account, number):
            return True
        balance = self.margin_balance(account)
        if balance - self.initial_requirement(with_order) >= fee:
            return True
        signed = order.remaining if order.side == layout.BUY else -order.remaining
        opposes = quantity * signed < 0
        if not opposes or held_open + order.remaining > abs(quantity):
            return False
        left = self.maintenance_requirement(account)
        left += self.maintenance_of(number, quantity + signed)
        left -= self.maintenance_of(number, quantity)
        reserves = sum(self.reserves(with_order, each) for each in with_order.positions())
        return balance - reserves - fee >= left

    # --- fees ----------------------------------------------------------------------------------

    def fees(self, instrument: Instrument, value: int) -> tuple[int, int]:
        """(taker, maker) per lot traded at `value`."""
        rates = instrument.rates
        if not instrument.is_option:
            taker = ceiling(value * rates.taker_fee, MILLION)
            maker = ceiling(value * rates.maker_fee, MILLION)
        else:
            base = ceiling(
                self.index_of(instrument) * instrument.listing.contract_size, MILLION
            )
            cap = ceiling(value * rates.fee_cap, MILLION)
            taker = min(ceiling(base * rates.taker_fee, MILLION), cap)
            maker = min(ceiling(base * rates.maker_fee, MILLION), cap)
        return taker, max(maker, -taker)

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

    def remove(self, order: Order, reason: R) -> None:
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

    def check_tradable(self, number: int) -> R:
        if number >= len(self.instruments):
            return R.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        expired = instrument.is_option and self.time >= instrument.listing.expiry
        if instrument.status != layout.TRADING or expired:
            return R.INSTRUMENT_NOT_TRADING
        underlying = self.underlyings[instrument.listing.underlying]
        times = [underlying.time] if underlying.index else [0]
        if instrument.is_option:
            times.append(instrument.mark_time)
        if any(time == 0 or self.time - time > underlying.age for time in times):
            return R.ORACLE_STALE
        return R.APPLIED

    def check_terms(self, number: int, price: int, lots: int) -> R:
        listing = self.instruments[number].listing
        if not listing.base_tick <= price < self.instruments[number].top:
            return R.PRICE_OUT_OF_RANGE
        if not listing.minimum_lots <= lots <= listing.maximum_lots:
            return R.QUANTITY_OUT_OF_RANGE
        return R.APPLIED

    def check_room(
        self, account: Account, positions: set[int], number: int, side: int, lots: int
    ) -> R:
        if number not in positions and len(positions) >= layout.POSITIONS:
            return R.POSITIONS_FULL
        quantity = account.quantity(number)
        held = quantity if side == layout.BUY else -quantity
        if held + account.open_lots(number, side) + lots > POSITION_LOTS:
            return R.POSITION_LIMIT
        return R.APPLIED

    def choose_slot(self, account: Account, slot: int) -> int | R:
        if slot == layout.ANY_SLOT:
            for free in range(layout.SLOTS):
                if free not in account.orders:
                    return free
            return R.SLOTS_FULL
        if slot >= layout.SLOTS:
            return R.SLOT_OUT_OF_RANGE
        return R.SLOT_IN_USE if slot in account.orders else slot

    def place(
        self, who: int, number: int, side: int, price: int, lots: int, slot: int,
        force: int = layout.GOOD_TIL_CANCELLED, post_only: bool = False,
        reduce_only: bool = False, label: int = 0,
    ) -> R:  # fmt: skip
        account = self.accounts[who]
        if force == 3 or (force and post_only):
            return R.MALFORMED
        status = self.check_tradable(number) or self.check_terms(number, price, lots)
        if status:
            return status
        chosen = self.choose_slot(account, slot)
        if isinstance(chosen, R):
            return chosen
        if reduce_only:
            signed = account.quantity(number) * (-1 if side == layout.BUY else 1)
            lots = min(lots, max(signed, 0))
            if lots == 0:
                return R.REDUCE_ONLY_INCREASES
        makers = self.crossing(number, side, price)
        if makers and post_only:
            return R.POST_ONLY_WOULD_CROSS
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
                return R.FILL_OR_KILL_UNFILLED
        flags = side | force << layout.FLAG_TIME_IN_FORCE_SHIFT
        flags |= layout.FLAG_POST_ONLY * post_only | layout.FLAG_REDUCE_ONLY * reduce_only
        order = Order(
            who, chosen, number, side, price, lots, flags, label,
            self.reserve_of(number, side, price), lots,
        )  # fmt: skip
        instrument = self.instruments[number]
        fee = lots * self.fees(instrument, price * instrument.tick_value)[0] if makers else 0
        if not self.order_passes(account, order, fee):
            return R.INSUFFICIENT_MARGIN
        self.execute(order, makers, force)
        return R.APPLIED

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
            reason = R.NOT_RESTING if force else R.MATCH_LIMIT
            self.emit_order(layout.EVENT_ORDER_REMOVED, order, reason, order.remaining)

    def meet(self, order: Order, maker: Order) -> None:
        if maker.account == order.account:
            self.remove(maker, R.SELF_TRADE)
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
            self.remove(maker, R.REDUCE_ONLY_INCREASES)
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

    def cancel(self, who: int, slot: int) -> R:
        if slot >= layout.SLOTS:
            return R.SLOT_OUT_OF_RANGE
        order = self.accounts[who].orders.get(slot)
        if order is None:
            return R.SLOT_EMPTY
        self.remove(order, R.CANCELLED)
        return R.APPLIED

    def cancel_all(self, who: int) -> R:
        for slot in sorted(self.accounts[who].orders):
            self.remove(self.accounts[who].orders[slot], R.CANCELLED)
        return R.APPLIED

    # --- mass quote ----------------------------------------------------------------------------

    def mass_quote(self, who: int, legs: list[Leg]) -> R:
        account = self.accounts[who]
        after = copy.deepcopy(account)
        positions = account.positions()
        slots: set[int] = set()
        plan: list[tuple[Leg, R, Order | None]] = []
        for leg in legs:
            status, order = self.plan_leg(who, after, positions, slots, leg)
            slots.add(leg.slot)
            plan.append((leg, status, order))
        before = self.initial_requirement(account)
        risen = sum(self.requirement(after, number) for number in positions)
        if risen > before:
            sane = abs(account.cash) <= TRADING_CASH
            if not sane or self.margin_balance(account) < risen:
                return R.INSUFFICIENT_MARGIN
        for leg, status, _ in plan:
            touched = status not in (R.MALFORMED, R.SLOT_OUT_OF_RANGE, R.SLOT_IN_USE)
            if touched and leg.slot in account.orders:
                self.remove(account.orders[leg.slot], R.CANCELLED)
        for leg, planned, order in plan:
            status = planned
            if order is not None:
                if self.crossing(order.instrument, order.side, order.price):
                    status = R.POST_ONLY_WOULD_CROSS
                else:
                    self.rest(order)
            if status:
                self.emit(
                    layout.EVENT_QUOTE_LEG, leg.side, leg.instrument, status, who, leg.slot,
                    leg.price, leg.quantity, leg.label,
                )  # fmt: skip
        return R.APPLIED

    def plan_leg(
        self, who: int, after: Account, positions: set[int], slots: set[int], leg: Leg
    ) -> tuple[R, Order | None]:
        """Judge one leg against the account as earlier legs left it, which it changes."""
        if leg.flags:
            return R.MALFORMED, None
        if leg.slot >= layout.SLOTS:
            return R.SLOT_OUT_OF_RANGE, None
        if leg.slot in slots:
            return R.SLOT_IN_USE, None
        old = after.orders.pop(leg.slot, None)
        if leg.quantity == 0:
            return (R.APPLIED if old else R.SLOT_EMPTY), None
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
        return R.APPLIED, order

    # --- prices, listings, expiry --------------------------------------------------------------

    def emit_price(self, kind: int, number: int, who: int, value: int) -> None:
        self.emit(layout.EVENT_PRICE, kind, number, 0, who, 0, value >> 32, value % (1 << 32), 0)

    def oracle_index(self, who: int, number: int, value: int) -> R:
        if not self.accounts[who].flags & layout.ACCOUNT_PUBLISHER:
            return R.NOT_A_PUBLISHER
        if number >= len(self.underlyings):
            return R.UNKNOWN_UNDERLYING
        underlying = self.underlyings[number]
        if not 0 < value <= underlying.highest:
            return R.ORACLE_PRICE_OUT_OF_RANGE
        underlying.index = value
        underlying.time = self.time
        self.emit_price(layout.ORACLE_INDEX, number, who, value)
        return R.APPLIED

    def oracle_mark(self, who: int, number: int, value: int) -> R:
        if not self.accounts[who].flags & layout.ACCOUNT_PUBLISHER:
            return R.NOT_A_PUBLISHER
        if number >= len(self.instruments):
            return R.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        if not instrument.is_option:
            return R.MALFORMED
        if instrument.status != layout.TRADING:
            return R.INSTRUMENT_NOT_TRADING
        highest = self.underlyings[instrument.listing.underlying].highest
        if instrument.listing.kind == layout.PUT:
            highest = instrument.listing.strike
        if not 0 <= value <= highest:
            return R.ORACLE_PRICE_OUT_OF_RANGE
        instrument.mark = value
        instrument.mark_time = self.time
        self.emit_price(layout.ORACLE_MARK, number, who, value)
        return R.APPLIED

    def check_listing(self, listing: Listing) -> R:
        if not (0 < listing.tick_size <= PRICE and listing.contract_size > 0):
            return R.LISTING_INVALID
        product = listing.tick_size * listing.contract_size
        if product > LOT_VALUE * MILLION or product % MILLION:
            return R.LISTING_INVALID
        if not 1 <= listing.base_tick <= (1 << 32) - layout.TICKS:
            return R.LISTING_INVALID
        if listing.base_tick * (product // MILLION) > LOT_VALUE:
            return R.LISTING_INVALID
        if not 1 <= listing.minimum_lots <= listing.maximum_lots <= POSITION_LOTS:
            return R.LISTING_INVALID
        if listing.margin_class >= len(MARGIN_CLASSES) or not 1 <= listing.age <= 86_400_000:
            return R.LISTING_INVALID
        highest = min(PRICE, LOT_VALUE * MILLION // listing.contract_size)
        if listing.kind == layout.PERPETUAL:
            if listing.strike or listing.expiry:
                return R.LISTING_INVALID
        elif listing.kind not in (layout.CALL, layout.PUT):
            return R.LISTING_INVALID
        elif listing.expiry <= self.time or not 0 < listing.strike <= highest:
            return R.LISTING_INVALID
        if listing.underlying > len(self.underlyings):
            return R.UNKNOWN_UNDERLYING
        if listing.underlying == len(self.underlyings):
            if len(self.underlyings) == layout.UNDERLYINGS:
                return R.UNDERLYINGS_FULL
            taken = {underlying.symbol for underlying in self.underlyings}
            return R.LISTING_INVALID if listing.symbol in {0} | taken else R.APPLIED
        underlying = self.underlyings[listing.underlying]
        if listing.symbol not in (0, underlying.symbol) or underlying.index > highest:
            return R.LISTING_INVALID
        return R.APPLIED

    def list_instrument(self, who: int, listing: Listing) -> R:
        if not self.accounts[who].flags & layout.ACCOUNT_OPERATOR:
            return R.NOT_THE_OPERATOR
        status = self.check_listing(listing)
        if status:
            return status
        number = self.find_record(listing)
        if number == layout.INSTRUMENTS:
            return R.INSTRUMENTS_FULL
        known = number < len(self.instruments)
        if known and self.instruments[number].status != layout.SETTLED:
            old = self.instruments[number]
            same = (old.listing.tick_size, old.listing.contract_size) == (
                listing.tick_size,
                listing.contract_size,
            )
            idle = not self.book(number, layout.BUY) and not self.book(number, layout.SELL)
            if not same or not idle or old.status != layout.TRADING:
                return R.LISTING_INVALID
            old.listing = listing
        else:
            tick_value = listing.tick_size * listing.contract_size // MILLION
            created = Instrument(listing, tick_value)
            self.instruments[number : number + 1] = [created]
        highest = min(PRICE, LOT_VALUE * MILLION // listing.contract_size)
        if listing.underlying == len(self.underlyings):
            self.underlyings.append(Underlying(listing.symbol, listing.age, highest))
        underlying = self.underlyings[listing.underlying]
        underlying.age = listing.age
        underlying.highest = min(underlying.highest, highest)
        self.emit(
            layout.EVENT_LISTED, listing.kind, number, 0, who, 0, listing.base_tick, 0, 0
        )
        return R.APPLIED

    def find_record(self, listing: Listing) -> int:
        """The trading instrument of the same identity, else a settled one, else the next."""
        for number, instrument in enumerate(self.instruments):
            old = instrument.listing
            if instrument.status != layout.SETTLED and (
                old.kind, old.underlying, old.strike, old.expiry
            ) == (listing.kind, listing.underlying, listing.strike, listing.expiry):  # fmt: skip
                return number
        for number, instrument in enumerate(self.instruments):
            if instrument.status == layout.SETTLED:
                return number
        return len(self.instruments)

    def expire(self, who: int, number: int, label: int = 0) -> R:
        if number >= len(self.instruments):
            return R.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        listing = instrument.listing
        if instrument.status == layout.SETTLED:
            return R.INSTRUMENT_NOT_TRADING
        if instrument.status == layout.TRADING:
            if not instrument.is_option or self.time < listing.expiry:
                return R.INSTRUMENT_NOT_EXPIRED
            underlying = self.underlyings[listing.underlying]
            if underlying.time < listing.expiry or self.time - underlying.time > underlying.age:
                return R.ORACLE_STALE
            worth = underlying.index - listing.strike
            if listing.kind == layout.PUT:
                worth = -worth
            instrument.delivery = max(worth, 0) * listing.contract_size // MILLION
            instrument.status = layout.SETTLING
        resting = self.book(number, layout.BUY) + self.book(number, layout.SELL)
        for order in resting[:EXPIRE_ORDERS]:
            self.remove(order, R.INSTRUMENT_EXPIRED)
        if len(resting) > EXPIRE_ORDERS:
            return R.APPLIED
        end = min(instrument.cursor + EXPIRE_ACCOUNTS, len(self.accounts))
        for holder in range(instrument.cursor, end):
            account = self.accounts[holder]
            lots = account.holdings.pop(number, 0)
            if lots:
                account.cash += lots * instrument.delivery
                side = layout.SELL if lots > 0 else layout.BUY
                self.emit(
                    layout.EVENT_SETTLED, side, number, 0, holder, 0, 0, abs(lots), 0
                )
        instrument.cursor = end
        if end == len(self.accounts):
            instrument.status = layout.SETTLED
            self.emit(
                layout.EVENT_SETTLED, layout.EVENT_SETTLED, number, 0, who, 0, 0, 0, label
            )
        return R.APPLIED
