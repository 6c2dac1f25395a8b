"""The twin's money: requirements per lot, margin, fees."""

from __future__ import annotations

import copy

from tests.twin.records import (
    MILLION,
    TRADING_CASH,
    Account,
    Instrument,
    Order,
    Underlying,
    ceiling,
)

from entresol.kernel import layout


class Ledger:
    """Accounts, markets and what they are worth."""

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
        signed = order.remaining if order.side == layout.BUY else -order.remaining
        closes = quantity * signed < 0 and held_open + order.remaining <= abs(quantity)
        raises = self.requirement(with_order, number) > self.requirement(account, number)
        if not raises and (closes or not fee):
            return True
        balance = self.margin_balance(account)
        if balance - self.initial_requirement(with_order) >= fee:
            return True
        if not closes:
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
            base = ceiling(self.index_of(instrument) * instrument.listing.contract_size, MILLION)
            cap = ceiling(value * rates.fee_cap, MILLION)
            taker = min(ceiling(base * rates.taker_fee, MILLION), cap)
            maker = min(ceiling(base * rates.maker_fee, MILLION), cap)
        return taker, max(maker, -taker)
