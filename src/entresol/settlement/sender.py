"""Gets one transaction after another into L1: nonces, fees, replacement, low balance.

One account has one transaction in flight at a time.  What is in flight is written to a file
before it is sent, so that a restart replaces it instead of sending a second one.
"""

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from entresol.crypto.secp256k1 import address_of
from entresol.settlement.l1 import L1Client, L1Error, L1UnavailableError, Receipt
from entresol.settlement.transaction import Call, Fees, Signed, sign

GWEI: Final = 10**9
POLL_SECONDS: Final = 0.02
"""Pause of `send` between looks at the chain."""

SEARCH_BLOCKS: Final = 64
"""Blocks searched for the transaction that used a nonce; one that is deeper is not ours."""

_TOO_CHEAP: Final = ("underpriced", "less than block base fee", "less than block blob gas fee")
"""What nodes answer to an offer that is below the block's fees or the replaced transaction's."""


class BalanceLowError(Exception):
    """The account cannot pay for its next transaction."""

    def __init__(self, address: bytes, balance: int, required: int) -> None:
        super().__init__(
            f"Account 0x{address.hex()} holds {balance / 10**18:.6f} ETH and needs "
            f"{required / 10**18:.6f} ETH for its next transaction: send it ETH and start again."
        )
        self.address = address
        self.balance = balance
        self.required = required


class FeeCapError(Exception):
    """L1 asks for more than the configured fee cap; nothing was sent, try again later."""


class SendTimeoutError(Exception):
    """A transaction did not get into L1 in the time that the caller gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """How much to offer: wei per gas; `patience_blocks` until an offer is raised."""

    tip: int = GWEI
    gas_cap: int = 500 * GWEI
    blob_gas_cap: int = 500 * GWEI
    patience_blocks: int = 3
    reserve: int = 0  # wei that must remain beyond the next transaction's worst cost


@dataclass(slots=True, kw_only=True)
class Pending:
    """The transaction in flight: every version sent under its nonce, newest last."""

    tag: str
    nonce: int
    fees: Fees
    sent_block: int
    hashes: list[str] = field(default_factory=list)


class Sender:
    """The one writer for one L1 account; `state` is its file, None keeps it in memory."""

    def __init__(
        self,
        client: L1Client,
        secret: bytes,
        *,
        state: Path | None = None,
        policy: FeePolicy | None = None,
    ) -> None:
        self.client = client
        self.policy = FeePolicy() if policy is None else policy
        self.address = address_of(secret)
        self._secret = secret
        self._state = state
        self.pending = self._load()

    def settle(self) -> None:
        """Forget the transaction in flight once its nonce is used; nothing new is sent."""
        if self.pending is not None:
            self._look(self.pending)

    def step(self, call: Call, tag: str) -> Receipt | None:
        """Move `call` towards L1 by one step; its receipt once it is in the chain.

        Never waits.  A receipt of another call (one that was in flight when the caller changed
        its mind) is dropped: the caller decides from the chain's state, not from receipts.  After
        a reorg a call may get in twice, so what it does must be safe to do twice: the rollup
        contract refuses a record or a claim that is already there.
        Raises BalanceLowError, FeeCapError, L1UnavailableError, L1Error.
        """
        pending = self.pending
        if pending is None:
            pending = self._first(call, tag)
            receipt = self._look(pending)
        else:
            receipt = self._look(pending)
            nonce = self.client.nonce(self.address)
            if receipt is None and self.pending is not None and nonce <= pending.nonce:
                if nonce < pending.nonce:
                    # A reorg took back an earlier transaction of this account: the one in flight
                    # can never get in until another fills the gap, so begin again from there.
                    self._save(None)
                    self._first(call, tag)
                else:
                    self._pursue(call, tag, pending)
        return receipt if pending.tag == tag else None

    def _used(self, pending: Pending) -> bool:
        return self.client.nonce(self.address) > pending.nonce

    def _look(self, pending: Pending) -> Receipt | None:
        """The receipt of any version of the transaction in flight, if L1 has one."""
        for digest in reversed(pending.hashes):
            receipt = self.client.receipt(bytes.fromhex(digest))
            if receipt is not None:
                self._save(None)
                return receipt
        if self._used(pending) and self._is_replaced(pending):
            # By the same key, from elsewhere: what is true now is in the chain.
            self._save(None)
        return None

    def send(self, call: Call, tag: str = "", timeout_seconds: float = 120.0) -> Receipt:
        """Like `step`, until the receipt is there; raises SendTimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            receipt = self.step(call, tag)
            if receipt is not None:
                return receipt
            if time.monotonic() > deadline:
                raise SendTimeoutError(f"{tag or 'transaction'} is not in L1 yet; try again later")
            time.sleep(POLL_SECONDS)

    def _first(self, call: Call, tag: str) -> Pending:
        head = self.client.head()
        fees = self._market_fees(call)
        self._check_balance(call, fees)
        pending = Pending(
            tag=tag, nonce=self.client.nonce(self.address), fees=fees, sent_block=head.number
        )
        self._submit(call, pending)
        return pending

    def _is_replaced(self, pending: Pending) -> bool:
        """True when another transaction took the pending nonce.

        Nodes count a nonce a moment before they serve the block and its receipts, so a used nonce
        without a receipt says nothing yet: look for the transaction that used it.
        """
        last = self.client.head().number
        first = max(0, last - SEARCH_BLOCKS)
        for number in range(last, first - 1, -1):
            taker = self.client.transaction_of(self.address, pending.nonce, number)
            if taker is not None:
                return taker not in pending.hashes
        return last - pending.sent_block > SEARCH_BLOCKS

    def _pursue(self, call: Call, tag: str, pending: Pending) -> None:
        """Send again what the node forgot, replace what waits too long or is not wanted."""
        head = self.client.head()
        known = any(self.client.knows_transaction(bytes.fromhex(d)) for d in pending.hashes)
        waited = head.number - pending.sent_block
        if waited < 0:
            # The chain is shorter than when it was sent: a reorg, or an older node state.
            pending.sent_block = head.number
        if known and waited < self.policy.patience_blocks and pending.tag == tag:
            return
        if not known:
            pending.fees = self._market_fees(call)
        else:
            raised = self._raised_fees(call, pending.fees)
            if raised is None:
                return
            pending.fees = raised
        self._check_balance(call, pending.fees)
        pending.tag = tag
        pending.sent_block = head.number
        self._submit(call, pending)

    def _submit(self, call: Call, pending: Pending) -> None:
        """Write down, then send; an underpriced replacement is raised until it fits or the cap."""
        while True:
            signed = self._sign(call, pending)
            if signed.digest.hex() not in pending.hashes:
                pending.hashes.append(signed.digest.hex())
            self._save(pending)
            try:
                self.client.send_raw(signed.raw)
                return
            except L1UnavailableError:
                raise
            except L1Error as error:
                text = error.message.lower()
                if "already known" in text or "already imported" in text:
                    return
                if "nonce too low" in text:
                    return  # `step` finds out what took the nonce
                self._forget_refused(pending, signed)
                if "insufficient funds" in text:
                    balance = self.client.balance(self.address)
                    required = call.cost(pending.fees)
                    raise BalanceLowError(self.address, balance, required) from error
                if not any(words in text for words in _TOO_CHEAP):
                    raise
                raised = self._raised_fees(call, pending.fees)
                if raised is None:
                    raise FeeCapError(
                        "L1 has a dearer transaction under the same nonce and the fee cap is "
                        "reached: wait, or raise the cap"
                    ) from error
                pending.fees = raised

    def _forget_refused(self, pending: Pending, signed: Signed) -> None:
        """A version that the node refused; without an earlier one nothing is in flight."""
        with contextlib.suppress(ValueError):
            pending.hashes.remove(signed.digest.hex())
        self._save(pending if pending.hashes else None)

    def _sign(self, call: Call, pending: Pending) -> Signed:
        return sign(
            call,
            secret=self._secret,
            chain_id=self.client.chain_id,
            nonce=pending.nonce,
            fees=pending.fees,
        )

    def _market_fees(self, call: Call) -> Fees:
        """Twice the going base fees: six full blocks of rise until the offer is too low."""
        gas = 2 * self.client.base_fee() + self.policy.tip
        blob_gas = 0 if call.sidecar is None else max(2 * self.client.blob_base_fee(), GWEI)
        if gas > self.policy.gas_cap or blob_gas > self.policy.blob_gas_cap:
            raise FeeCapError(
                f"L1 asks {gas / GWEI:.1f} gwei per gas and {blob_gas / GWEI:.1f} per blob gas, "
                "above the fee cap: wait, or raise the cap"
            )
        return Fees(gas=gas, tip=self.policy.tip, blob_gas=blob_gas)

    def _raised_fees(self, call: Call, last: Fees) -> Fees | None:
        """A replacement's fees (twice for blobs, a quarter more otherwise), None above the cap.

        Pools accept a replacement only when every fee rises: by 10 %, by 100 % with blobs.
        """
        cap = self.policy
        if call.sidecar is not None or last.blob_gas:
            blob_floor = GWEI if call.sidecar is not None else 0
            raised = Fees(
                gas=2 * last.gas,
                tip=2 * last.tip,
                blob_gas=max(2 * last.blob_gas, blob_floor) if call.sidecar is not None else 0,
            )
        else:
            raised = Fees(gas=last.gas * 5 // 4 + 1, tip=last.tip * 5 // 4 + 1)
        with contextlib.suppress(FeeCapError):
            market = self._market_fees(call)
            raised = replace(
                raised,
                gas=max(raised.gas, market.gas),
                blob_gas=max(raised.blob_gas, market.blob_gas),
            )
        if raised.gas > cap.gas_cap or raised.blob_gas > cap.blob_gas_cap:
            return None
        return raised

    def _check_balance(self, call: Call, fees: Fees) -> None:
        required = call.cost(fees) + self.policy.reserve
        balance = self.client.balance(self.address)
        if balance < required:
            raise BalanceLowError(self.address, balance, required)

    def _load(self) -> Pending | None:
        if self._state is None or not self._state.exists():
            return None
        stored = json.loads(self._state.read_text())
        if stored is None:
            return None
        return Pending(**{**stored, "fees": Fees(**stored["fees"])})

    def _save(self, pending: Pending | None) -> None:
        self.pending = pending
        if self._state is not None:
            text = json.dumps(None if pending is None else asdict(pending))
            write_atomically(self._state, text)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` so that a crash leaves the old or the new content, on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
