"""Claims what every data record did to the state, and makes claims final when their time comes.

Like the batcher it keeps nothing but the transaction in flight: what to do next follows from L1
and from this node's own runs.
"""

import enum
import threading
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from entresol.crypto.keccak import keccak256
from entresol.rollup.claim import EMPTY_JOURNAL, Claim, decode_journal
from entresol.settlement.l1 import L1UnavailableError, RevertError
from entresol.settlement.records import DataRecord, Outcome, claim_key
from entresol.settlement.sender import FeeCapError, Sender
from entresol.settlement.transaction import Call
from entresol.settlement.view import L1View

GAS: Final = {"propose": 500_000, "finalise": 250_000, "collect": 100_000}
MAX_FAILURES: Final = 3

_log = structlog.get_logger(__name__)


class ProposerError(Exception):
    """The proposer cannot go on by itself; the message says what happened and what to do."""


class DisagreementError(ProposerError):
    """L1 holds as final, or past contradiction, what this node's own run contradicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What this node's run of one data record gave; `journal` is empty when the run failed."""

    durable_before: bytes
    volatile_before: bytes
    durable_after: bytes
    volatile_after: bytes
    exit_code: int
    journal: bytes


class RunSource(Protocol):
    """Where results come from; one must stay available until its claim is final."""

    def result(self, record: DataRecord) -> RunResult | None:
        """Result of running exactly `record` (its L1 time and inbox included), None if not yet."""


class ProposerStatus(enum.Enum):
    """What a step found."""

    IDLE = "idle"
    """Nothing to claim and nothing to finalise yet."""
    SENDING = "sending"
    """A transaction is on its way."""
    DONE = "done"
    """A transaction got into L1 in this step."""
    WAITING = "waiting"
    """L1 would refuse now and accept later, or its fees are above the cap."""
    CONTESTED = "contested"
    """A sibling of this node's claim lives past the window: the dispute game must decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    tag: str
    function: str
    arguments: tuple[Any, ...]
    value: int = 0


class Proposer:
    """Proposes and finalises; `collect_from` is the credit (wei) worth a transaction to collect."""

    def __init__(
        self,
        view: L1View,
        sender: Sender,
        source: RunSource,
        *,
        collect_from: int | None = None,
    ) -> None:
        self.view = view
        self.sender = sender
        self.source = source
        self._rollup = view.deployment.contract("rollup")
        bond = view.deployment.parameters.bond
        self._collect_from = 8 * bond if collect_from is None else collect_from
        self._failures = 0

    def step(self) -> ProposerStatus:
        """Look at L1 and do the one thing that is next; never waits.

        Raises ProposerError, BalanceLowError (both need a person), L1UnavailableError (try again).
        """
        self.view.refresh()
        actions, contested = self._actions()
        pending = self.sender.pending
        if pending is not None:
            actions = [a for a in actions if a.tag == pending.tag] or actions
        if not actions:
            self.sender.settle()
            return ProposerStatus.CONTESTED if contested else ProposerStatus.IDLE
        action = actions[0]
        data = self._rollup.encode(action.function, *action.arguments)
        call = Call(
            to=self._rollup.address,
            data=data,
            gas_limit=GAS[action.function],
            value=action.value,
        )
        try:
            if pending is None and not self._would_succeed(action):
                return ProposerStatus.WAITING
            receipt = self.sender.step(call, action.tag)
        except FeeCapError as error:
            _log.warning("claim waits for lower fees", action=action.tag, reason=str(error))
            return ProposerStatus.WAITING
        if receipt is None:
            return ProposerStatus.SENDING
        if not receipt.succeeded:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise ProposerError(
                    f"{action.tag} failed {MAX_FAILURES} times, last in transaction "
                    f"0x{receipt.transaction.hex()}: look at its trace before starting again"
                )
            return ProposerStatus.SENDING
        self._failures = 0
        _log.info("claim step", action=action.tag, block=receipt.block, fee_wei=receipt.fee)
        return ProposerStatus.DONE

    def run(self, stop: threading.Event, poll_seconds: float = 0.5) -> None:
        """Step until `stop` is set; an L1 node that is away is waited for."""
        while not stop.is_set():
            try:
                status = self.step()
            except L1UnavailableError as error:
                _log.warning("L1 is away", reason=str(error))
                status = ProposerStatus.WAITING
            if status is not ProposerStatus.DONE:
                stop.wait(poll_seconds)

    def _actions(self) -> tuple[list[_Action], bool]:
        """Everything worth a transaction now, most urgent first; is an own claim contested?"""
        actions: list[_Action] = []
        contested = False
        parent = self.view.final_head
        before = self.view.outcome(parent)
        if before is None:
            raise ProposerError("L1 made a claim final that it never announced: use another node")
        for posted in self.view.records[before.next_record :]:
            result = self.source.result(posted.record)
            if result is None:
                break
            key, after = self._expect(parent, before, posted.record, result)
            if self.view.claim(key) is None:
                self._check_in_time(parent, posted.record.index)
                actions.append(self._propose(parent, before, posted.record, result))
                break
            if parent == self.view.final_head and self._window_is_over(parent):
                if len(self.view.siblings(parent)) == 1:
                    arguments = (key, after.to_abi())
                    tag = f"finalise {posted.record.index}"
                    actions.append(_Action(tag=tag, function="finalise", arguments=arguments))
                else:
                    contested = True
            parent, before = key, after
        # A claim can be contradicted for a limited time only, so proposing goes first.
        actions.sort(key=lambda action: action.function != "propose")
        if not actions and self._credit() >= self._collect_from:
            actions.append(_Action(tag="collect", function="collect", arguments=()))
        return actions, contested

    def _expect(
        self, parent: bytes, before: Outcome, record: DataRecord, result: RunResult
    ) -> tuple[bytes, Outcome]:
        """Key and outcome of the one claim about `record` that this node holds to be true."""
        roots = (before.durable_root, before.volatile_root)
        if roots != (result.durable_before, result.volatile_before):
            raise DisagreementError(
                f"the state before data record {record.index} on L1 is not this node's: derive "
                "the state from L1 and compare"
            )
        deployment = self.view.deployment
        claim = Claim(
            chain_id=deployment.chain_id,
            rollup=deployment.rollup,
            record_index=record.index,
            program_id=deployment.program_id,
            durable_before=before.durable_root,
            volatile_before=before.volatile_root,
            data_record=record.digest,
            durable_after=result.durable_after,
            volatile_after=result.volatile_after,
            exit_code=result.exit_code,
            journal_hash=keccak256(result.journal or EMPTY_JOURNAL),
        )
        return claim_key(parent, claim.identifier), outcome_after(before, record, result)

    def _propose(
        self, parent: bytes, before: Outcome, record: DataRecord, result: RunResult
    ) -> _Action:
        return _Action(
            tag=f"propose {record.index} on {parent.hex()}",
            function="propose",
            arguments=(
                *(parent, before.to_abi(), record.to_abi(), result.durable_after),
                *(result.volatile_after, result.exit_code, result.journal),
            ),
            value=self.view.deployment.parameters.bond,
        )

    def _check_in_time(self, parent: bytes, index: int) -> None:
        if self._window_is_over(parent):
            raise DisagreementError(
                f"data record {index} has a claim that this node contradicts and its window is "
                "over: check this node against another, the dispute may be lost"
            )

    def _window_is_over(self, parent: bytes) -> bool:
        """True when L1's clock has passed the window of the claims on `parent`."""
        claims = self.view.children(parent)
        return bool(claims) and self.view.client.pending_time() > claims[0].deadline

    def _credit(self) -> int:
        return int(self.view.client.call(self._rollup, "credit", self.sender.address))

    def _would_succeed(self, action: _Action) -> bool:
        """Ask L1 before paying; False for what passes by itself, ProposerError for the rest."""
        try:
            self.view.client.simulate(
                self._rollup,
                action.function,
                *action.arguments,
                sender=self.sender.address,
                value=action.value,
            )
        except RevertError as error:
            passing = ("rollup: window is open", "rollup: claim exists", "rollup: unknown parent")
            changed = ("rollup: record", "rollup: unknown claim", "rollup: sibling lives")
            if error.message in passing + changed:
                _log.info("claim waits for L1", action=action.tag, reason=error.message)
                return False
            raise ProposerError(f"L1 refuses to {action.tag}: {error.message}") from error
        return True


def outcome_after(before: Outcome, record: DataRecord, result: RunResult) -> Outcome:
    """The outcome that the contract keeps for a claim; a failed run keeps every cursor."""
    if result.exit_code != 0:
        return Outcome(
            next_record=record.index + 1,
            durable_root=before.durable_root,
            volatile_root=before.volatile_root,
            withdrawals_root=before.withdrawals_root,
            withdrawals_count=before.withdrawals_count,
            inbox_position=before.inbox_position,
            inbox_hash=before.inbox_hash,
            last_time_ms=before.last_time_ms,
        )
    journal = decode_journal(result.journal)
    return Outcome(
        next_record=record.index + 1,
        durable_root=result.durable_after,
        volatile_root=result.volatile_after,
        withdrawals_root=journal.withdrawals_root,
        withdrawals_count=journal.withdrawals_count,
        inbox_position=journal.inbox_position,
        inbox_hash=journal.inbox_hash,
        last_time_ms=journal.last_time_ms,
    )
