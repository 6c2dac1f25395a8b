"""Opens a venue for business: deposits, session keys, listings, first prices.

Every deposit is a real L1 transaction and every account a real one of the exchange.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from entresol.cli.stack import Stack
from entresol.cli.venue import FIRST_TRADER, MARKET_MAKER, OPERATOR, PUBLISHER
from entresol.client.bridge import Bridge
from entresol.client.exchange import Exchange
from entresol.client.keys import Key, derive_session_key
from entresol.client.lane import LaneChannel
from entresol.client.listing import Listing, list_option, list_perpetual
from entresol.client.market_data import UNIT
from entresol.client.market_maker import MarketMaker
from entresol.client.operations import index_price, mark_price
from entresol.client.option_chain import build_chain, split_by_expiry
from entresol.client.quoting import OptionQuoter
from entresol.client.tally import Tally
from entresol.kernel import layout

CURRENCY: Final = "BTC"
MAKER_DEPOSIT: Final = 50_000_000 * UNIT
TRADER_DEPOSIT: Final = 25_000_000 * UNIT
QUOTE_LOTS: Final = 100
"""Size of every option quote: one unit of the underlying."""

Progress = Callable[[str, int, int], None]
"""Called with (what, done, in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPlan:
    """What is opened: how many accounts, how many options."""

    depth_accounts: int = 32
    takers: int = 8
    first_taker: int = FIRST_TRADER
    """Development account of the first taker."""
    expiries: int = 3
    strikes_per_side: int = 3


@dataclass(frozen=True, slots=True)
class Market:
    """An open market: its maker, its takers' lanes and owners, the oracle, what was deposited."""

    maker: MarketMaker
    takers: list[LaneChannel]
    taker_owners: list[Key]
    publisher: LaneChannel
    tally: Tally
    deposited: int


async def open_market(
    stack: Stack, exchange: Exchange, index: int, plan: MarketPlan, progress: Progress
) -> Market:
    """Open accounts and markets around an index price in millionths."""
    tally = Tally()
    maker_owner = stack.key(MARKET_MAKER)
    taker_owners = [stack.key(plan.first_taker + number) for number in range(plan.takers)]
    maker_accounts = plan.depth_accounts + plan.expiries
    deposits = [(maker_owner, number, MAKER_DEPOSIT) for number in range(maker_accounts)]
    deposits += [(owner, 0, TRADER_DEPOSIT) for owner in taker_owners]
    await asyncio.to_thread(_deposit, stack, deposits, progress)
    publisher = await open_publisher(stack, exchange)
    await list_markets(stack, exchange, index, plan, progress)
    lanes = await _open_lanes(exchange, [entry[:2] for entry in deposits], progress)
    options = [entry for entry in exchange.instruments.values() if entry.strike]
    options.sort(key=lambda option: option.number)
    await publisher.submit([index_price(0, index)])
    quoters = [OptionQuoter(group, QUOTE_LOTS) for group in split_by_expiry(options)]
    await publish_marks(publisher, quoters, index)
    desks = list(zip(quoters, lanes[plan.depth_accounts : maker_accounts], strict=True))
    perpetual = exchange.find(f"{CURRENCY}-PERPETUAL")
    maker = MarketMaker(perpetual, lanes[: plan.depth_accounts], desks, tally)
    deposited = sum(amount for _, _, amount in deposits)
    return Market(maker, lanes[maker_accounts:], taker_owners, publisher, tally, deposited)


def _deposit(stack: Stack, deposits: list[tuple[Key, int, int]], progress: Progress) -> None:
    """Deposit one after the other; each owner's tokens are created at once."""
    bridges: dict[bytes, Bridge] = {}
    for owner, _, _ in deposits:
        if owner.address not in bridges:
            bridge = Bridge(stack.l1_url, stack.deployment, owner)
            bridge.prepare(sum(amount for key, _, amount in deposits if key == owner))
            bridges[owner.address] = bridge
    for number, (owner, subaccount, amount) in enumerate(deposits, 1):
        bridges[owner.address].user.deposit(amount, None, subaccount)
        progress("deposits on L1", number, len(deposits))


async def open_publisher(stack: Stack, exchange: Exchange) -> LaneChannel:
    """Register the price publisher's session key and open its lane."""
    owner = stack.key(PUBLISHER)
    key = derive_session_key(owner, exchange.venue.domain)
    account = layout.PUBLISHER_ACCOUNT
    if await exchange.find_lane(account, key.address) is None:
        await exchange.register_lane(
            owner, account, key.address, permissions=layout.PERMISSION_ORACLE
        )
    return await exchange.open_lane(key, account)


async def list_markets(
    stack: Stack, exchange: Exchange, index: int, plan: MarketPlan, progress: Progress
) -> None:
    """List the perpetual and the option chain as the operator."""
    chain = build_chain(
        CURRENCY,
        index,
        time.time_ns() // 1_000_000,
        expiry_count=plan.expiries,
        strikes_per_side=plan.strikes_per_side,
    )
    listings: list[Listing] = [list_perpetual(CURRENCY, index), *map(list_option, chain)]
    operator = stack.key(OPERATOR)
    for number, listing in enumerate(listings, 1):
        outcome = await exchange.submit_owner_operation(
            operator, layout.OPERATOR_ACCOUNT, listing.operation()
        )
        outcome.raise_for_rejection()
        progress("markets", number, len(listings))
    await exchange.refresh()


async def _open_lanes(
    exchange: Exchange, accounts: list[tuple[Key, int]], progress: Progress
) -> list[LaneChannel]:
    """Register a session key for every account, all at the same time."""
    done = 0

    async def open_one(owner: Key, subaccount: int) -> LaneChannel:
        nonlocal done
        await exchange.await_account(owner.address, subaccount)
        trader = await exchange.open_trader(owner, subaccount=subaccount, session=subaccount)
        done += 1
        progress("session keys", done, len(accounts))
        return trader.lane

    return list(await asyncio.gather(*(open_one(owner, number) for owner, number in accounts)))


async def publish_marks(publisher: LaneChannel, quoters: list[OptionQuoter], index: int) -> None:
    """Send a first mark of every option, so that all can be traded."""
    now_ms = time.time_ns() // 1_000_000
    operations = [
        mark_price(mark.instrument.number, mark.value)
        for quoter in quoters
        for mark in quoter.marks(index / UNIT, now_ms)
    ]
    for start in range(0, len(operations), layout.MAX_RECORDS_PER_MESSAGE):
        chunk = operations[start : start + layout.MAX_RECORDS_PER_MESSAGE]
        outcome = await publisher.submit(chunk)
        outcome.raise_for_rejection()
