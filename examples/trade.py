"""Deposit on L1, trade, and take the money home: the whole round in one small program.

Start `entresol up` in another terminal first, then: python examples/trade.py
It acts as account 6 of the development L1 node, whose keys are public.
"""

import argparse
import asyncio
import time
from pathlib import Path

from entresol.cli.venue import Venue
from entresol.client.bridge import Bridge, WithdrawalNotReadyError, read_proof
from entresol.client.exchange import Exchange
from entresol.client.keys import development_key

COLLATERAL = 1_000_000
"""One unit of collateral in the token's smallest unit."""


async def trade(directory: Path) -> None:
    """Deposit 5,000, buy 0.01 BTC at the market, quote above it, close, withdraw 100."""
    venue = Venue.load(directory)
    owner = development_key(6, venue.deployment.chain_id)
    bridge = Bridge(venue.l1_url, venue.deployment, owner)
    bridge.deposit(5_000 * COLLATERAL)

    async with await Exchange.connect(venue.api_url) as exchange:
        account = await exchange.await_account(owner.address)
        trader = await exchange.open_trader(owner)  # registers a session key at the first time

        bought = await trader.buy("BTC-PERPETUAL", "0.01")
        milliseconds = 1000 * bought.outcome.seconds
        print(f"bought {bought.filled}, confirmed after {milliseconds:.1f} ms")

        book = await exchange.read("public/get_order_book", instrument_name="BTC-PERPETUAL")
        above = str(book["asks"][-1][0])
        resting = await trader.sell("BTC-PERPETUAL", "0.01", price=above, post_only=True)
        print(f"order {resting.order_id} rests at {above}")
        await trader.cancel(resting.order_id)

        closed = await trader.sell("BTC-PERPETUAL", "0.01", reduce_only=True)
        print(f"sold {closed.filled}")

        before = bridge.balance()
        first = (await exchange.read("public/status"))["withdrawals"]
        await exchange.withdraw(owner, account, owner.address, 100 * COLLATERAL)
        print("withdrawal accepted; waiting until its claim on L1 is final")
        while (found := await exchange.find_withdrawal(account, first)) is None:
            await asyncio.sleep(0.5)
    proof = read_proof(found)
    while True:
        try:
            bridge.withdraw(proof)
            break
        except WithdrawalNotReadyError:
            time.sleep(0.5)
    print(f"L1 paid {(bridge.balance() - before) // COLLATERAL}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venue", type=Path, default=Path("var"))
    asyncio.run(trade(parser.parse_args().venue))
