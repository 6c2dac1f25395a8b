"""A slow, plain exchange: the rules of the kernel written a second time, from the rules.

Orders are objects in dictionaries, a book is a sorted scan, sums are recomputed whenever they
are needed, integers are Python's.  Nothing here imports kernel code but the numbers of its
interface (layout.py's enumerations, rejections, the margin table and the work bounds).
"""

from __future__ import annotations

from tests.twin.records import (
    EXPIRE_ACCOUNTS,
    EXPIRE_ORDERS,
    LOT_VALUE,
    MILLION,
    POSITION_LOTS,
    PRICE,
    Instrument,
    Listing,
    Underlying,
)
from tests.twin.trading import Trading

from entresol.kernel import layout
from entresol.kernel.instruments import MARGIN_CLASSES
from entresol.kernel.rejections import Rejection


class Exchange(Trading):
    """The whole twin; every method that is an operation returns its Rejection."""

    # --- prices, listings, expiry --------------------------------------------------------------

    def emit_price(self, kind: int, number: int, who: int, value: int) -> None:
        self.emit(layout.EVENT_PRICE, kind, number, 0, who, 0, value >> 32, value % (1 << 32), 0)

    def oracle_index(self, who: int, number: int, value: int) -> Rejection:
        if not self.accounts[who].flags & layout.ACCOUNT_PUBLISHER:
            return Rejection.NOT_A_PUBLISHER
        if number >= len(self.underlyings):
            return Rejection.UNKNOWN_UNDERLYING
        underlying = self.underlyings[number]
        if not 0 < value <= underlying.highest:
            return Rejection.ORACLE_PRICE_OUT_OF_RANGE
        underlying.index = value
        underlying.time = self.time
        self.emit_price(layout.ORACLE_INDEX, number, who, value)
        return Rejection.APPLIED

    def oracle_mark(self, who: int, number: int, value: int) -> Rejection:
        if not self.accounts[who].flags & layout.ACCOUNT_PUBLISHER:
            return Rejection.NOT_A_PUBLISHER
        if number >= len(self.instruments):
            return Rejection.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        if not instrument.is_option:
            return Rejection.MALFORMED
        if instrument.status != layout.TRADING:
            return Rejection.INSTRUMENT_NOT_TRADING
        highest = self.underlyings[instrument.listing.underlying].highest
        if instrument.listing.kind == layout.PUT:
            highest = instrument.listing.strike
        if not 0 <= value <= highest:
            return Rejection.ORACLE_PRICE_OUT_OF_RANGE
        instrument.mark = value
        instrument.mark_time = self.time
        self.emit_price(layout.ORACLE_MARK, number, who, value)
        return Rejection.APPLIED

    def check_listing(self, listing: Listing) -> Rejection:
        if not (0 < listing.tick_size <= PRICE and listing.contract_size > 0):
            return Rejection.LISTING_INVALID
        product = listing.tick_size * listing.contract_size
        if product > LOT_VALUE * MILLION or product % MILLION:
            return Rejection.LISTING_INVALID
        if not 1 <= listing.base_tick <= (1 << 32) - layout.TICKS:
            return Rejection.LISTING_INVALID
        if listing.base_tick * (product // MILLION) > LOT_VALUE:
            return Rejection.LISTING_INVALID
        if not 1 <= listing.minimum_lots <= listing.maximum_lots <= POSITION_LOTS:
            return Rejection.LISTING_INVALID
        if listing.margin_class >= len(MARGIN_CLASSES) or not 1 <= listing.age <= 86_400_000:
            return Rejection.LISTING_INVALID
        highest = min(PRICE, LOT_VALUE * MILLION // listing.contract_size)
        if listing.kind == layout.PERPETUAL:
            if listing.strike or listing.expiry:
                return Rejection.LISTING_INVALID
        elif (
            listing.kind not in (layout.CALL, layout.PUT)
            or listing.expiry <= self.time
            or not 0 < listing.strike <= highest
        ):
            return Rejection.LISTING_INVALID
        if listing.underlying > len(self.underlyings):
            return Rejection.UNKNOWN_UNDERLYING
        if listing.underlying == len(self.underlyings):
            if len(self.underlyings) == layout.UNDERLYINGS:
                return Rejection.UNDERLYINGS_FULL
            taken = {underlying.symbol for underlying in self.underlyings}
            return Rejection.LISTING_INVALID if listing.symbol in {0} | taken else Rejection.APPLIED
        underlying = self.underlyings[listing.underlying]
        if listing.symbol not in (0, underlying.symbol) or underlying.index > highest:
            return Rejection.LISTING_INVALID
        return Rejection.APPLIED

    def list_instrument(self, who: int, listing: Listing) -> Rejection:
        if not self.accounts[who].flags & layout.ACCOUNT_OPERATOR:
            return Rejection.NOT_THE_OPERATOR
        status = self.check_listing(listing)
        if status:
            return status
        number = self.find_record(listing)
        if number == layout.INSTRUMENTS:
            return Rejection.INSTRUMENTS_FULL
        known = number < len(self.instruments)
        if known and self.instruments[number].status != layout.SETTLED:
            old = self.instruments[number]
            same = (old.listing.tick_size, old.listing.contract_size) == (
                listing.tick_size,
                listing.contract_size,
            )
            idle = not self.book(number, layout.BUY) and not self.book(number, layout.SELL)
            if not same or not idle or old.status != layout.TRADING:
                return Rejection.LISTING_INVALID
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
        self.emit(layout.EVENT_LISTED, listing.kind, number, 0, who, 0, listing.base_tick, 0, 0)
        return Rejection.APPLIED

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

    def expire(self, who: int, number: int, label: int = 0) -> Rejection:
        if number >= len(self.instruments):
            return Rejection.UNKNOWN_INSTRUMENT
        instrument = self.instruments[number]
        listing = instrument.listing
        if instrument.status == layout.SETTLED:
            return Rejection.INSTRUMENT_NOT_TRADING
        if instrument.status == layout.TRADING:
            if not instrument.is_option or self.time < listing.expiry:
                return Rejection.INSTRUMENT_NOT_EXPIRED
            underlying = self.underlyings[listing.underlying]
            if underlying.time < listing.expiry or self.time - underlying.time > underlying.age:
                return Rejection.ORACLE_STALE
            worth = underlying.index - listing.strike
            if listing.kind == layout.PUT:
                worth = -worth
            instrument.delivery = max(worth, 0) * listing.contract_size // MILLION
            instrument.status = layout.SETTLING
        resting = self.book(number, layout.BUY) + self.book(number, layout.SELL)
        for order in resting[:EXPIRE_ORDERS]:
            self.remove(order, Rejection.INSTRUMENT_EXPIRED)
        if len(resting) > EXPIRE_ORDERS:
            return Rejection.APPLIED
        end = min(instrument.cursor + EXPIRE_ACCOUNTS, len(self.accounts))
        for holder in range(instrument.cursor, end):
            account = self.accounts[holder]
            lots = account.holdings.pop(number, 0)
            if lots:
                account.cash += lots * instrument.delivery
                self.accounts[layout.HOUSE_ACCOUNT].cash -= lots * instrument.delivery
                side = layout.SELL if lots > 0 else layout.BUY
                self.emit(layout.EVENT_SETTLED, side, number, 0, holder, 0, 0, abs(lots), 0)
        instrument.cursor = end
        if end == len(self.accounts):
            instrument.status = layout.SETTLED
            self.emit(layout.EVENT_SETTLED, layout.EVENT_SETTLED, number, 0, who, 0, 0, 0, label)
        return Rejection.APPLIED
