"""One thread of the link to L1: steps, waits, tries again, and says how it fares."""

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from entresol.settlement.l1 import L1Error, L1UnavailableError
from entresol.settlement.sender import BalanceLowError, Sender
from entresol.settlement.view import InconsistentL1Error

MAX_ERRORS: Final = 20
"""Error answers of the L1 node in a row before a thread gives up; being away does not count."""

_log = structlog.get_logger(__name__)


class LinkState(enum.Enum):
    """How a thread of the link is doing."""

    STARTING = "starting"
    RUNNING = "running"
    AWAY = "away"
    """The L1 node does not answer, or answers with errors; tried again."""
    PAUSED = "paused"
    """The account cannot pay; nothing is sent until it can."""
    FAILED = "failed"
    """It cannot go on by itself: a person must look."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One thread: its state, what its last step found, and the error it is held up by."""

    state: LinkState = LinkState.STARTING
    activity: str = ""
    error: str = ""
    address: bytes = b""
    """Of the account it pays from; empty for the follower."""
    balance: int | None = None
    """Wei in that account when last looked at."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found, and whether the next should follow at once."""

    activity: str
    again: bool = False


class Worker:
    """A thread that steps until it is stopped, and a status that says how it fares.

    `build` makes the step function inside the thread, because connections belong to threads;
    `release` is called in it at the end.  `on_failure` is called in it, once, for what cannot pass
    by itself.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Callable[[], Step]],
        *,
        stop: threading.Event,
        poll_seconds: float,
        pause_seconds: float,
        on_failure: Callable[[Exception], None],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.status = WorkerStatus()
        self._build = build
        self._poll_seconds = poll_seconds
        self._pause_seconds = pause_seconds
        self._stop = stop
        self._on_failure = on_failure
        self._release = release
        self._sender: Sender | None = None
        self._balance: int | None = None
        self._balance_due = 0.0
        self._errors = 0
        self.thread = threading.Thread(target=self._run, name=f"l1 {name}", daemon=True)

    def pay_from(self, sender: Sender) -> None:
        """The account whose balance the status shows."""
        self._sender = sender

    def _run(self) -> None:
        step: Callable[[], Step] | None = None
        try:
            while not self._stop.is_set():
                try:
                    if step is None:
                        step = self._build()
                    found = step()
                    self._look_at_balance()
                    self._errors = 0
                    self._note(LinkState.RUNNING, found.activity)
                    wait = 0.0 if found.again else self._poll_seconds
                except Exception as error:
                    held = self._hold_up(error)
                    if held is None:
                        return
                    wait = held
                self._stop.wait(wait)
            self._note(LinkState.STOPPED)
        finally:
            self._release()

    def _hold_up(self, error: Exception) -> float | None:
        """Say what happened; seconds until the next try, None when there is none."""
        if isinstance(error, BalanceLowError):
            self._balance = error.balance
            self._note(LinkState.PAUSED, error=str(error))
            return self._pause_seconds
        if isinstance(error, L1UnavailableError):
            self._note(LinkState.AWAY, error=str(error))
            return self._poll_seconds
        # A mirror that met a contradiction is half applied and must not be used again.
        if isinstance(error, L1Error) and not isinstance(error, InconsistentL1Error):
            self._errors += 1
            if self._errors < MAX_ERRORS:
                self._note(LinkState.AWAY, error=f"The L1 node answers: {error}")
                return self._poll_seconds
        self._note(LinkState.FAILED, error=str(error) or type(error).__name__)
        self._on_failure(error)
        return None

    def _look_at_balance(self) -> None:
        if self._sender is None or time.monotonic() < self._balance_due:
            return
        self._balance = self._sender.client.balance(self._sender.address)
        self._balance_due = time.monotonic() + self._pause_seconds

    def _note(self, state: LinkState, activity: str = "", error: str = "") -> None:
        before = self.status
        self.status = WorkerStatus(
            state=state,
            activity=activity or before.activity,
            error=error,
            address=b"" if self._sender is None else self._sender.address,
            balance=self._balance,
        )
        if (state, error) != (before.state, before.error):
            quiet = state in (LinkState.RUNNING, LinkState.STOPPED)
            say = _log.info if quiet else _log.error
            say("L1 link", part=self.name, state=state.value, reason=error)
