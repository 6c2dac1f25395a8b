"""Money between L1 and the exchange: deposit, force, withdraw with proof.

Everything is checked here as L1 will check it, so a transaction that cannot succeed is not sent.
"""

from dataclasses import dataclass
from typing import Any

from entresol.client.keys import Key
from entresol.client.wire import read_bytes
from entresol.rollup.withdrawal import Withdrawal, verify_withdrawal
from entresol.settlement.bridge import UserBridge
from entresol.settlement.deploy import Deployment
from entresol.settlement.l1 import L1Client, Receipt
from entresol.settlement.sender import Sender
from entresol.settlement.view import L1View


class WithdrawalNotReadyError(Exception):
    """The withdrawal cannot be paid yet, or its proof does not hold; says which and why."""


@dataclass(frozen=True, slots=True)
class WithdrawalProof:
    """A withdrawal, its path to a withdrawals root, and the claim that carries that root."""

    withdrawal: Withdrawal
    path: list[bytes]
    claim: bytes


def read_proof(answer: dict[str, Any]) -> WithdrawalProof:
    """The answer of public/get_withdrawal_proof; raises WithdrawalNotReadyError before a claim."""
    if answer["claim"] is None:
        raise WithdrawalNotReadyError("No claim on L1 covers the withdrawal yet.")
    withdrawal = Withdrawal(
        index=int(answer["index"]),
        token=read_bytes(answer["token"]),
        recipient=read_bytes(answer["recipient"]),
        amount=int(answer["amount_micro"]),
    )
    path = [read_bytes(node) for node in answer["path"]]
    return WithdrawalProof(withdrawal, path, read_bytes(answer["claim"]))


class Bridge:
    """One owner's money at one deployment."""

    def __init__(self, l1_url: str, deployment: Deployment, owner: Key) -> None:
        self.client = L1Client(l1_url)
        self.deployment = deployment
        self.owner = owner
        self.user = UserBridge(Sender(self.client, owner.secret), deployment)

    def balance(self) -> int:
        """Tokens that the owner holds on L1, in millionths."""
        return self.user.token_balance()

    def deposit(
        self, amount: int, *, subaccount: int = 0, recipient: bytes | None = None
    ) -> Receipt:
        """Move `amount` into an account of the exchange (the owner's own by default).

        On a development token what is missing is created first.
        """
        self.prepare(amount)
        return self.user.deposit(amount, recipient, subaccount)

    def prepare(self, amount: int) -> None:
        """Have `amount` ready for several deposits; only a development token can be created."""
        missing = amount - self.balance()
        if missing > 0:
            self.user.mint(missing)

    def check(self, proof: WithdrawalProof) -> None:
        """Raise WithdrawalNotReadyError unless L1 would pay on this proof now."""
        view = L1View(self.client, self.deployment)
        view.refresh()
        claim = view.claim(proof.claim)
        if claim is None or not view.is_final(proof.claim):
            raise WithdrawalNotReadyError("The claim that holds the withdrawal is not final yet.")
        if not verify_withdrawal(
            claim.outcome.withdrawals_root, self.deployment.domain, proof.withdrawal, proof.path
        ):
            raise WithdrawalNotReadyError(
                "The proof does not lead to the claim's withdrawals root: do not trust this node."
            )

    def withdraw(self, proof: WithdrawalProof) -> Receipt:
        """Prove a withdrawal on L1 and be paid; raises WithdrawalNotReadyError, RevertError."""
        self.check(proof)
        withdrawal = proof.withdrawal
        return self.user.withdraw(
            proof.claim, withdrawal.index, withdrawal.recipient, withdrawal.amount, proof.path
        )
