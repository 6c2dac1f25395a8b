"""A user's side of the bridge and the inbox: deposit, force, withdraw."""

from typing import Any, Final

from entresol.settlement.deploy import Deployment
from entresol.settlement.l1 import Contract, Receipt, RevertError
from entresol.settlement.sender import Sender
from entresol.settlement.transaction import Call

GAS: Final = {
    "mint": 150_000,
    "approve": 150_000,
    "deposit": 400_000,
    "force_withdraw": 250_000,
    "force_cancel_all": 250_000,
    "force_revoke_lane": 250_000,
    "withdraw": 500_000,
    "release": 250_000,
}
"""Gas limits, above the worst cases that the gas snapshot of the tests records."""


class UserBridge:
    """What one L1 account does at one deployment; amounts in the token's smallest units."""

    def __init__(self, sender: Sender, deployment: Deployment) -> None:
        self.sender = sender
        self.deployment = deployment
        self._client = sender.client
        self._token = deployment.contract("token")
        self._inbox = deployment.contract("inbox")
        self._bridge = deployment.contract("bridge")

    def token_balance(self, address: bytes | None = None) -> int:
        """Tokens of `address` (of this account by default)."""
        holder = self.sender.address if address is None else address
        return int(self._client.call(self._token, "balanceOf", holder))

    def mint(self, amount: int, receiver: bytes | None = None) -> Receipt:
        """Create development tokens; only the development token allows it."""
        return self._send(self._token, "mint", receiver or self.sender.address, amount)

    def deposit(self, amount: int, recipient: bytes | None = None, subaccount: int = 0) -> Receipt:
        """Move `amount` into the rollup account (`recipient`, `subaccount`)."""
        allowed = self._client.call(
            self._token, "allowance", self.sender.address, self._bridge.address
        )
        if allowed < amount:
            self._send(self._token, "approve", self._bridge.address, amount)
        recipient = self.sender.address if recipient is None else recipient
        return self._send(self._bridge, "deposit", amount, recipient, subaccount)

    def force_withdraw(self, recipient: bytes, subaccount: int, amount: int) -> Receipt:
        """Oblige the rollup to pay up to `amount` from this account's free cash."""
        return self._send(self._inbox, "force_withdraw", recipient, subaccount, amount)

    def force_cancel_all(self, subaccount: int) -> Receipt:
        """Oblige the rollup to cancel all orders of this account."""
        return self._send(self._inbox, "force_cancel_all", subaccount)

    def force_revoke_lane(self, subaccount: int, lane: int) -> Receipt:
        """Oblige the rollup to revoke a session key of this account."""
        return self._send(self._inbox, "force_revoke_lane", subaccount, lane)

    def withdraw(
        self, claim: bytes, index: int, recipient: bytes, amount: int, proof: list[bytes]
    ) -> Receipt:
        """Prove withdrawal `index` against the final claim with key `claim`.

        Pays at once, or queues when the outflow limit is reached: see `queued`.
        """
        return self._send(self._bridge, "withdraw", claim, index, recipient, amount, proof)

    def release(self, index: int) -> Receipt:
        """Pay a queued withdrawal whose time has come."""
        return self._send(self._bridge, "release", index)

    def queued(self, index: int) -> tuple[bytes, int, int] | None:
        """(recipient, amount, payable from that L1 time) of a queued withdrawal."""
        entry = self._client.call(self._bridge, "queue", index)
        if not any(entry["recipient"]):
            return None
        return entry["recipient"], entry["amount"], entry["payable_at"]

    def is_withdrawn(self, index: int) -> bool:
        """True once withdrawal `index` was paid or queued."""
        return bool(self._client.call(self._bridge, "is_withdrawn", index))

    def _send(self, contract: Contract, function: str, *arguments: Any) -> Receipt:
        """Simulate, so that a refusal costs nothing and has its reason; then send.

        Raises RevertError with the contract's reason.
        """
        self._client.simulate(contract, function, *arguments, sender=self.sender.address)
        call = Call(
            to=contract.address,
            data=contract.encode(function, *arguments),
            gas_limit=GAS[function],
        )
        receipt = self.sender.send(call, f"{contract.name}.{function}")
        if not receipt.succeeded:
            self._client.simulate(contract, function, *arguments, sender=self.sender.address)
            raise RevertError(
                f"{contract.name}.{function} failed in transaction 0x{receipt.transaction.hex()}"
            )
        return receipt
