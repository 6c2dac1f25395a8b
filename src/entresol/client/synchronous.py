"""The exchange for programs without an event loop: the same calls, waiting for their answers.

    with SyncExchange.connect(url) as exchange:
        trader = exchange.open_trader(owner)
        trader.buy("BTC-PERPETUAL", "0.01", price="60000")

One background thread runs the loop; everything may be called from any one thread.
"""

import asyncio
import threading
import types
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Self, TypeVar

from entresol.client.exchange import Exchange
from entresol.client.instruments import Instrument, Number
from entresol.client.keys import Key
from entresol.client.outcome import Outcome
from entresol.client.trader import PlacedOrder, QuoteRequest, Trader

Result = TypeVar("Result")

STOP_SECONDS: Final = 10.0


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="entresol client", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()


class SyncTrader:
    """A Trader whose calls wait."""

    def __init__(self, trader: Trader, loop: _Loop) -> None:
        self._trader, self._loop = trader, loop

    @property
    def account(self) -> int:
        """The account's number."""
        return self._trader.account

    def buy(self, instrument_name: str, amount: Number, **terms: object) -> PlacedOrder:
        """See Trader.buy."""
        return self._loop.run(self._trader.buy(instrument_name, amount, **terms))

    def sell(self, instrument_name: str, amount: Number, **terms: object) -> PlacedOrder:
        """See Trader.sell."""
        return self._loop.run(self._trader.sell(instrument_name, amount, **terms))

    def cancel(self, order_id: str | int) -> Outcome:
        """See Trader.cancel."""
        return self._loop.run(self._trader.cancel(order_id))

    def cancel_all(self) -> Outcome:
        """See Trader.cancel_all."""
        return self._loop.run(self._trader.cancel_all())

    def mass_quote(self, quotes: Sequence[QuoteRequest]) -> Outcome:
        """See Trader.mass_quote."""
        return self._loop.run(self._trader.mass_quote(quotes))


class SyncExchange:
    """An Exchange whose calls wait; made by `connect`."""

    def __init__(self, exchange: Exchange, loop: _Loop) -> None:
        self._exchange, self._loop = exchange, loop

    @classmethod
    def connect(cls, url: str, *, verify_receipts: bool = True) -> Self:
        """Connect to a node's WebSocket; raises ConnectionLostError when nobody answers."""
        loop = _Loop()
        try:
            work = Exchange.connect(url, verify_receipts=verify_receipts)
            return cls(loop.run(work), loop)
        except BaseException:
            loop.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end the background thread."""
        self._loop.run(self._exchange.close())
        self._loop.stop()

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Listed instruments by name, as of the last refresh."""
        return self._exchange.instruments

    def refresh(self) -> None:
        """See Exchange.refresh."""
        self._loop.run(self._exchange.refresh())

    def read(self, method: str, **params: Any) -> Any:
        """See Exchange.read."""
        return self._loop.run(self._exchange.read(method, **params))

    def open_trader(self, owner: Key, *, subaccount: int = 0, session: int = 0) -> SyncTrader:
        """See Exchange.open_trader."""
        work = self._exchange.open_trader(owner, subaccount=subaccount, session=session)
        return SyncTrader(self._loop.run(work), self._loop)

    def withdraw(self, owner: Key, account: int, recipient: bytes, amount: int) -> Outcome:
        """See Exchange.withdraw."""
        return self._loop.run(self._exchange.withdraw(owner, account, recipient, amount))
