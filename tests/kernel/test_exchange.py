"""The kernel and the plain twin do the same, step by step, under random trading."""

import random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.twin.pair import PERPETUAL, START_MS, Pair, option
from tests.twin.records import Leg, Listing

from entresol.kernel import layout
from entresol.kernel.rejections import Rejection

TRADERS = range(3, 8)
MIDDLE = 60_000
EXPIRY = START_MS + 3_600_000
ODD_PERPETUAL = Listing(
    kind=layout.PERPETUAL, underlying=1, symbol=0x485445, tick_size=10_000, contract_size=33_300,
    base_tick=200_000, margin_class=2, minimum_lots=2, maximum_lots=5_000, age=10_000,
)  # fmt: skip
"""An ETH perpetual whose lot does not divide its price: marks round."""

# Ticks near the money of each instrument, so that orders meet.
NEAR = {0: 600_000, 1: 2_500, 2: 2_400, 3: 300_000}

traders = st.sampled_from(TRADERS)
numbers = st.sampled_from([0, 0, 1, 2, 3])
sides = st.sampled_from([layout.BUY, layout.SELL])
offsets = st.one_of(st.integers(-5, 5), st.integers(-60_000, 60_000))
quantities = st.one_of(st.integers(1, 40), st.integers(0, 6_000), st.sampled_from([0, 1 << 21]))
slots = st.one_of(st.just(layout.ANY_SLOT), st.integers(0, 12), st.sampled_from([511, 512, 0xFFFE]))


class TradingMachine(RuleBasedStateMachine):
    @initialize(cash=st.lists(st.integers(10**7, 10**11), min_size=5, max_size=5))
    def start(self, cash: list[int]) -> None:
        self.pair = Pair(accounts=8)
        for trader, amount in zip(TRADERS, cash, strict=True):
            self.pair.set_cash(trader, amount)
        self.total = sum(cash)
        call = option(layout.CALL, 60_000, EXPIRY, base_tick=1_000)
        put = option(layout.PUT, 59_000, EXPIRY, base_tick=1_000, margin_class=1)
        for listing in (PERPETUAL, call, put, ODD_PERPETUAL):
            assert self.pair.list(listing) == Rejection.APPLIED
        self.prices()
        for number, middle in NEAR.items():
            for step in range(1, 5):
                self.pair.place(3, number, layout.BUY, middle - step, 5 * step)
                self.pair.place(4, number, layout.SELL, middle + step, 5 * step)
                self.pair.place(5 + step % 2, number, layout.SELL, middle - 1, 4)

    def prices(self) -> None:
        self.pair.oracle_index(MIDDLE * 10**6)
        self.pair.oracle_index(3_000 * 10**6, underlying=1)
        self.pair.oracle_mark(1, 2_500 * 10**6)
        self.pair.oracle_mark(2, 2_400 * 10**6)

    def price(self, number: int, offset: int) -> int:
        return max(NEAR[number] + (offset if number in (0, 3) else offset % 60 - 30), 0)

    @rule(
        who=traders, number=numbers, side=sides, offset=offsets, lots=quantities, slot=slots,
        force=st.sampled_from([0, 0, 0, 1, 2, 3]), post_only=st.booleans(),
        reduce_only=st.sampled_from([False, False, True]), label=st.integers(0, (1 << 32) - 1),
    )  # fmt: skip
    def place(self, number: int, offset: int, who: int, side: int, lots: int, **rest: Any) -> None:
        self.pair.place(who, number, side, self.price(number, offset), lots, **rest)

    @rule(who=traders, number=numbers, side=sides, lots=st.integers(1, 30))
    def take(self, who: int, number: int, side: int, lots: int) -> None:
        offset = 20 if side == layout.BUY else -20
        price = NEAR[number] + offset
        self.pair.place(who, number, side, price, lots, force=layout.IMMEDIATE_OR_CANCEL)

    @rule(who=traders, number=numbers, side=sides, lots=st.integers(2, 30), away=st.integers(0, 4))
    def make(self, who: int, number: int, side: int, lots: int, away: int) -> None:
        price = NEAR[number] + (away if side == layout.SELL else -away)
        self.pair.place(who, number, side, price, lots)

    @rule(who=traders, slot=st.one_of(st.integers(0, 12), st.sampled_from([511, 512, 65535])))
    def cancel(self, who: int, slot: int) -> None:
        self.pair.cancel(who, slot)

    @rule(who=traders, really=st.sampled_from([False] * 9 + [True]))
    def cancel_all(self, who: int, really: bool) -> None:
        if really:
            self.pair.cancel_all(who)

    @rule(
        who=traders,
        legs=st.lists(
            st.tuples(
                st.integers(0, 10), numbers, sides, st.integers(-6, 6), quantities,
                st.sampled_from([0, 0, 0, 0, 0, 0, 0, 64]),
            ),
            min_size=1, max_size=8,
        ),
    )  # fmt: skip
    def mass_quote(self, who: int, legs: list[tuple[int, ...]]) -> None:
        self.pair.mass_quote(
            who,
            [
                Leg(slot, number, side, self.price(number, offset), lots, row, flags)
                for row, (slot, number, side, offset, lots, flags) in enumerate(legs)
            ],
        )

    @rule(underlying=st.integers(0, 2), share=st.integers(-80, 150))
    def index(self, underlying: int, share: int) -> None:
        middle = MIDDLE if underlying == 0 else 3_000
        self.pair.oracle_index((middle + middle * share // 1_000) * 10**6 + 7, underlying)

    @rule(number=st.integers(0, 5), mark=st.integers(-1, 70_000))
    def mark(self, number: int, mark: int) -> None:
        self.pair.oracle_mark(number, mark * 10**6)

    @rule(milliseconds=st.sampled_from([0, 1, 100, 9_000, 61_000]), refresh=st.booleans())
    def wait(self, milliseconds: int, refresh: bool) -> None:
        self.pair.set_time(self.pair.twin.time + milliseconds)
        if refresh:
            self.prices()

    @rule(shift=st.integers(-1_000, 1_000), number=st.integers(0, 3))
    def relist(self, shift: int, number: int) -> None:
        listing = self.pair.twin.instruments[number].listing
        base_tick = max(listing.base_tick + shift, 1)
        self.pair.list(Listing(**(vars(listing) | {"base_tick": base_tick, "symbol": 0})))

    @rule(number=st.integers(0, 5), jump=st.sampled_from([False, False, False, True]))
    def expire(self, number: int, jump: bool) -> None:
        if jump and self.pair.twin.time < EXPIRY:
            self.pair.set_time(EXPIRY)
            self.prices()
        self.pair.expire(number)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()
            cash = self.pair.durable["account"]["cash"][:8]
            assert int(cash.sum()) == self.total


class Walk(random.Random):
    """A long random walk with weights that keep the books full; one seed, one history."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.machine = TradingMachine()
        self.machine.start([self.randint(10**7, 3 * 10**10) for _ in TRADERS])
        self.pair = self.machine.pair

    def order(self) -> None:
        number = self.choice([0, 0, 1, 2, 3])
        side = self.randrange(2)
        away = self.choice([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 400, 100_000])
        price = max(NEAR[number] + (away if side == layout.SELL else -away), 0)
        self.pair.place(
            self.choice(TRADERS), number, side, price, self.choice([1, 2, 3, 9, 25, 60, 5_000]),
            slot=self.choice([layout.ANY_SLOT, layout.ANY_SLOT, self.randrange(40)]),
            force=self.choice([0, 0, 0, 0, 1, 2]), post_only=self.random() < 0.2,
            reduce_only=self.random() < 0.25, label=self.getrandbits(32),
        )  # fmt: skip

    def cancel(self) -> None:
        who = self.choice(TRADERS)
        slots = [*self.pair.twin.accounts[who].orders, self.randrange(520)]
        self.pair.cancel(who, self.choice(slots))

    def quote(self) -> None:
        legs = []
        for row in range(self.randint(1, 10)):
            number, side = self.choice([0, 1, 2, 3]), self.randrange(2)
            away = self.choice([-2, 1, 1, 2, 3, 5, 8])
            price = NEAR[number] + (away if side == layout.SELL else -away)
            lots = self.choice([0, 2, 5, 8, 30, 400])
            legs.append(Leg(self.randrange(30, 45), number, side, price, lots, row))
        self.pair.mass_quote(self.choice(TRADERS), legs)

    def move(self) -> None:
        draw = self.randrange(6)
        if draw < 3:
            self.machine.index(draw % 2, self.choice([-60, -20, -5, 0, 0, 3, 10, 70]))
        elif draw == 3:
            self.machine.mark(self.choice([1, 2]), self.choice([0, 900, 2_400, 2_600, 9_000]))
        else:
            self.machine.wait(self.choice([1, 500, 9_000, 61_000]), self.random() < 0.9)

    def step(self) -> None:
        draw = self.random()
        if draw < 0.62:
            self.order()
        elif draw < 0.80:
            self.cancel()
        elif draw < 0.92:
            self.quote()
        elif draw < 0.99:
            self.move()
        elif draw < 0.995:
            self.pair.cancel_all(self.choice(TRADERS))
        else:
            self.machine.relist(self.randint(-50, 50), self.randrange(4))


def walk(seed: int, steps: int) -> None:
    """Trade at random, then let the options expire; compare after every step."""
    history = Walk(seed)
    for _ in range(steps):
        history.step()
        history.machine.agree()
    history.pair.set_time(EXPIRY)
    history.machine.prices()
    for number in (1, 2):
        while history.pair.expire(number) == Rejection.APPLIED:
            history.machine.agree()
    fresh = option(layout.PUT, 61_000, EXPIRY + 1, base_tick=1_000)
    assert history.pair.list(fresh) == Rejection.APPLIED
    history.machine.agree()


@pytest.mark.parametrize("seed", range(3))
def test_random_walk(seed: int) -> None:
    walk(seed, 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 112))
def test_long_random_walk(seed: int) -> None:
    walk(seed, 3_000)


TradingMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
TestTrading = TradingMachine.TestCase
