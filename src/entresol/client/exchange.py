"""The exchange from Python, asynchronously: connect, look, trade, act as an owner.

    async with await Exchange.connect(url) as exchange:
        trader = await exchange.open_trader(owner)
        await trader.buy("BTC-PERPETUAL", "0.01", price="60000")

A lost connection is made again, subscriptions with it, and every lane continues exactly where
the node says it stands (lane.py).  synchronous.py is the same for programs without a loop.
"""

import asyncio
import base64
import time
import types
from dataclasses import dataclass
from typing import Any, Final, Self

from entresol.client.connection import Connection, open_connection
from entresol.client.errors import (
    ConnectionLostError,
    MessageRefusedError,
    NotFoundError,
    ReceiptError,
    RemoteError,
)
from entresol.client.frames import MAX_MESSAGES, FrameError, compose_request, read_answers
from entresol.client.instruments import Instrument
from entresol.client.keys import Key, derive_session_key
from entresol.client.lane import LaneChannel
from entresol.client.outcome import Outcome
from entresol.client.signer import LaneSigner, SignedMessage, sign_owner_operation
from entresol.client.subscriptions import Subscription
from entresol.client.trader import Trader
from entresol.client.wire import decode_outcome, read_bytes, read_instrument, refusal_reason
from entresol.kernel import layout
from entresol.rollup.message import OwnerOperation
from entresol.sequencing.receipts import verify_receipt

RECONNECT_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses between attempts to reach a lost node again; the last one repeats."""

OWNER_VALID_FOR_MS: Final = 300_000
"""An owner operation that is not accepted within this time dies."""

POLL_SECONDS: Final = 0.1
"""Pause between looks at something that takes a while."""

SESSION_LIFETIME_MS: Final = 30 * 86_400_000
"""How long a session key that the client registers stays valid, unless told otherwise."""


_Waiting = tuple[SignedMessage, "asyncio.Future[Outcome]"]


@dataclass(frozen=True, slots=True)
class Venue:
    """What a client must know to sign for a rollup and to check its answers."""

    chain_id: int
    rollup: bytes
    domain: bytes
    sequencer: bytes


class Exchange:
    """One connection to a node; made by `connect`."""

    def __init__(self, url: str, verify_receipts: bool) -> None:
        self.url = url
        self.verify_receipts = verify_receipts
        self.venue = Venue(0, b"", b"", b"")
        self.instruments: dict[str, Instrument] = {}
        self._connection: Connection | None = None
        self._lanes: list[LaneChannel] = []
        self._subscriptions: dict[str, Subscription] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._is_closed = False
        self._outbox: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, *, verify_receipts: bool = True) -> Self:
        """Connect to a node's WebSocket; raises ConnectionLostError when nobody answers."""
        exchange = cls(url, verify_receipts)
        await exchange._open()
        exchange._keeper = asyncio.create_task(exchange._keep(), name="exchange connection")
        await exchange.refresh()
        return exchange

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; messages without an answer fail."""
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for lane in self._lanes:
            lane.close()
        for subscription in self._subscriptions.values():
            subscription.end()
        if self._connection is not None:
            await self._connection.close()
        self._connected.set()

    # --- looking -------------------------------------------------------------------------------

    async def read(self, method: str, **params: Any) -> Any:
        """Any method that only reads; asked again when the connection was lost meanwhile."""
        while True:
            await self._connected.wait()
            connection = self._live()
            try:
                return await connection.call(method, params)
            except ConnectionLostError:
                if self._is_closed:
                    raise
                await connection.lost.wait()
                if self._connection is connection:
                    self._connected.clear()

    async def refresh(self) -> None:
        """Read the venue's identity and its instruments again."""
        venue = await self.read("public/get_venue")
        self.venue = Venue(
            int(venue["chain_id"]),
            read_bytes(venue["rollup"]),
            read_bytes(venue["domain"]),
            read_bytes(venue["sequencer"]),
        )
        found = await self.read("public/get_instruments")
        instruments = map(read_instrument, found)
        self.instruments = {instrument.name: instrument for instrument in instruments}

    def find(self, name: str) -> Instrument:
        """A listed instrument by name; raises NotFoundError."""
        if name not in self.instruments:
            known = ", ".join(sorted(self.instruments)[:3])
            raise NotFoundError(f"There is no instrument {name!r}; there are {known}, …")
        return self.instruments[name]

    async def find_account(self, owner: bytes, subaccount: int = 0) -> int:
        """Number of an owner's account; raises NotFoundError before the first deposit."""
        try:
            found = await self.read(
                "public/get_account", owner="0x" + owner.hex(), subaccount=subaccount
            )
        except RemoteError as error:
            raise NotFoundError(
                f"0x{owner.hex()} has no account {subaccount} yet: deposit first."
            ) from error
        return int(found["account"])

    async def find_lane(self, account: int, key: bytes) -> int | None:
        """Number of the lane of a session key, None when it is not registered."""
        for lane in await self.read("public/get_lanes", account=account):
            if read_bytes(lane["key"]) == key:
                return int(lane["lane"])
        return None

    async def read_lane(self, lane: int) -> tuple[bytes, int]:
        """Tip and sequence of a lane as the node has them."""
        found = await self.read("public/get_lane", lane=lane)
        return read_bytes(found["tip"]), int(found["sequence"])

    # --- trading -------------------------------------------------------------------------------

    async def open_lane(self, key: Key, account: int, *, window: int = 64) -> LaneChannel:
        """The channel of a registered session key; raises NotFoundError when it is not."""
        number = await self.find_lane(account, key.address)
        if number is None:
            raise NotFoundError(
                f"Key {key.address_hex} is not registered for account {account}: register it."
            )
        tip, sequence = await self.read_lane(number)
        signer = LaneSigner(
            key, self.venue.domain, account=account, lane=number, tip=tip, sequence=sequence
        )
        channel = LaneChannel(signer, self._send_message, self.read_lane, window)
        self._lanes.append(channel)
        return channel

    async def open_trader(
        self, owner: Key, *, subaccount: int = 0, session: int = 0, window: int = 64
    ) -> Trader:
        """Trade for an owner's account; registers the derived session key at the first time."""
        account = await self.find_account(owner.address, subaccount)
        key = derive_session_key(owner, self.venue.domain, session)
        if await self.find_lane(account, key.address) is None:
            await self.register_lane(owner, account, key.address)
        return Trader(await self.open_lane(key, account, window=window), self.find)

    async def _send_message(self, message: SignedMessage) -> "asyncio.Future[Outcome]":
        """Put a message into the next frame; frames leave at the end of the loop's turn."""
        self._live()
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outbox.append((message, outcome))
        if len(self._outbox) >= MAX_MESSAGES:
            await self._flush()
        elif self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="frame of messages")
        return outcome

    async def _flush(self) -> None:
        """Send what waits as one frame."""
        waiting, self._outbox = self._outbox, []
        if not waiting:
            return
        messages = [message for message, _ in waiting]
        try:
            answer = await self._live().send_frame(
                lambda request: compose_request(request, messages, self.verify_receipts)
            )
        except ConnectionLostError as error:
            for _, outcome in waiting:
                _fail(outcome, error)
            return
        answer.add_done_callback(lambda done: self._resolve(waiting, done))

    def _resolve(self, waiting: list[_Waiting], answer: "asyncio.Future[bytes]") -> None:
        error = ConnectionLostError("cancelled") if answer.cancelled() else answer.exception()
        if error is None:
            try:
                answers = read_answers(answer.result(), [message for message, _ in waiting])
            except FrameError as problem:
                error = problem
        if error is not None:
            for _, outcome in waiting:
                _fail(outcome, error)
            return
        for (message, outcome), result in zip(waiting, answers, strict=True):
            if isinstance(result, MessageRefusedError):
                _fail(outcome, result)
                continue
            try:
                checked = self._check(message, result)
            except ReceiptError as problem:
                _fail(outcome, problem)
                continue
            if not outcome.done():
                outcome.set_result(checked)

    def _check(self, message: SignedMessage, outcome: Outcome) -> Outcome:
        """Refuse an outcome whose receipt does not promise this very message."""
        receipt = outcome.receipt
        if receipt is None or not self.verify_receipts:
            return outcome
        if (receipt.sequence, receipt.tip) != (message.sequence, message.tip):
            raise ReceiptError("The receipt is for another message than the one sent.")
        if not verify_receipt(
            receipt, outcome.receipt_signature, self.venue.domain, self.venue.sequencer
        ):
            raise ReceiptError("The receipt is not signed by the sequencer of this rollup.")
        return outcome

    # --- acting as an owner --------------------------------------------------------------------

    async def submit_owner_operation(
        self, owner: Key, account: int, operation: OwnerOperation
    ) -> Outcome:
        """Sign and send one owner operation; raises MessageRefusedError.

        Its own status is in the outcome, as for every accepted message.
        """
        summary = await self.read("private/get_account_summary", account=account)
        message = sign_owner_operation(
            owner,
            self.venue.domain,
            operation,
            account=account,
            sequence=int(summary["owner_nonce"]) + 1,
            valid_until_ms=time.time_ns() // 1_000_000 + OWNER_VALID_FOR_MS,
        )
        params = {"message": base64.b64encode(message.data).decode()}
        try:
            answer = await self._live().call("private/owner_operation", params)
        except RemoteError as error:
            reason = refusal_reason(error)
            raise (MessageRefusedError(reason) if reason is not None else error) from None
        return self._check(message, decode_outcome(answer))

    async def await_account(
        self, owner: bytes, subaccount: int = 0, *, seconds: float = 60.0
    ) -> int:
        """Wait until a deposit has opened the owner's account; returns its number."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self.find_account(owner, subaccount)
            except NotFoundError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def register_lane(
        self,
        owner: Key,
        account: int,
        key: bytes,
        *,
        permissions: int = layout.PERMISSION_TRADE,
        expires_ms: int | None = None,
    ) -> int:
        """Register a session key's address; returns the lane's number."""
        if expires_ms is None:
            expires_ms = time.time_ns() // 1_000_000 + SESSION_LIFETIME_MS
        operation = OwnerOperation(
            kind=layout.REGISTER_LANE, address=key, permissions=permissions, expires_ms=expires_ms
        )
        outcome = await self.submit_owner_operation(owner, account, operation)
        outcome.raise_for_rejection()
        lane = await self.find_lane(account, key)
        if lane is None:
            raise NotFoundError("The node registered the key but does not list its lane.")
        return lane

    async def withdraw(self, owner: Key, account: int, recipient: bytes, amount: int) -> Outcome:
        """Withdraw `amount` millionths of collateral to an L1 address; payable once final."""
        operation = OwnerOperation(kind=layout.WITHDRAW, address=recipient, amount=amount)
        outcome = await self.submit_owner_operation(owner, account, operation)
        outcome.raise_for_rejection()
        return outcome

    async def find_withdrawal(self, account: int, first: int) -> dict[str, Any] | None:
        """The account's first withdrawal from index `first` on, with its path to a claim's root.

        None while no claim on L1 covers it.
        """
        index = first
        while True:
            try:
                found: dict[str, Any] = await self.read("public/get_withdrawal_proof", index=index)
            except RemoteError:
                return None
            if int(found["account"]) == account:
                return found
            index += 1

    # --- channels and the connection -----------------------------------------------------------

    async def subscribe(self, channel: str) -> Subscription:
        """Notifications of one channel, such as `book.BTC-PERPETUAL.100ms`."""
        if channel not in self._subscriptions:
            self._subscriptions[channel] = Subscription(channel)
            await self.read("public/subscribe", channels=[channel])
        return self._subscriptions[channel]

    async def resubscribe(self, channel: str) -> None:
        """Ask for a new snapshot of a channel after a gap."""
        await self.read("public/unsubscribe", channels=[channel])
        await self.read("public/subscribe", channels=[channel])

    async def unsubscribe(self, channel: str) -> None:
        """End a subscription; its iteration ends after what is waiting."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            subscription.end()
            await self.read("public/unsubscribe", channels=[channel])

    def _notify(self, channel: str, data: Any) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is not None:
            subscription.deliver(data)

    def _live(self) -> Connection:
        if self._connection is None or self._is_closed:
            raise ConnectionLostError("The exchange client is closed.")
        return self._connection

    async def _open(self) -> None:
        self._connection = await open_connection(self.url, self._notify)
        self._connected.set()

    async def _keep(self) -> None:
        """Make a lost connection again, as often as it takes."""
        while not self._is_closed:
            await self._live().lost.wait()
            self._connected.clear()
            attempt = 0
            while not self._connected.is_set():
                pause = RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)]
                await asyncio.sleep(pause)
                attempt += 1
                try:
                    await self._open()
                    await self._restore()
                except (ConnectionLostError, RemoteError):
                    self._connected.clear()

    async def _restore(self) -> None:
        connection = self._live()
        if self._subscriptions:
            await connection.call("public/subscribe", {"channels": list(self._subscriptions)})
        for subscription in self._subscriptions.values():
            subscription.note_gap()
        for lane in self._lanes:
            lane.reconnect()


def _fail(outcome: "asyncio.Future[Outcome]", error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
