"""The rollup as L1 tells it: data records, inbox items, claims and finality, kept up to date."""

from dataclasses import dataclass
from typing import Final

from entresol.rollup.inbox import next_hash
from entresol.settlement.cursor import EventCursor
from entresol.settlement.deploy import Deployment
from entresol.settlement.l1 import BlockId, Event, L1Client, L1Error
from entresol.settlement.records import DataRecord, Outcome

EMPTY_CHAIN: Final = bytes(32)


class InconsistentL1Error(L1Error):
    """The node's events contradict each other: it is faulty, or it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedRecord:
    """A data record with where it was posted; `data` are its bytes if they were calldata."""

    record: DataRecord
    block: int
    transaction: bytes
    data: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedItem:
    """An inbox item: its 128 bytes and the chain value after it."""

    item: bytes
    chain_hash: bytes
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedClaim:
    """A claim that somebody proposed."""

    key: bytes
    parent: bytes
    claim_id: bytes
    record_index: int
    proposer: bytes
    deadline: int
    exit_code: int
    journal: bytes
    outcome: Outcome
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A claim became final or died."""

    key: bytes
    block: int


class L1View:
    """A mirror of one deployment; `refresh` follows the chain and undoes what it took back."""

    def __init__(self, client: L1Client, deployment: Deployment, *, confirmations: int = 0) -> None:
        self.client = client
        self.deployment = deployment
        self.head: BlockId | None = None
        self.records: list[PostedRecord] = []
        self.items: list[PostedItem] = []
        self.claims: list[PostedClaim] = []
        self.finals: list[Verdict] = []
        self.deaths: list[Verdict] = []
        self._claims: dict[bytes, PostedClaim] = {}
        self._children: dict[bytes, list[PostedClaim]] = {}
        self._final: set[bytes] = set()
        self._dead: set[bytes] = set()
        self._cursor = EventCursor(
            client,
            [deployment.contract("inbox"), deployment.contract("rollup")],
            first_block=deployment.block,
            confirmations=confirmations,
        )

    def refresh(self) -> int | None:
        """Follow the chain; the block after which everything was undone, None without a reorg."""
        advance = self._cursor.advance()
        if advance.keep is not None:
            self._undo(advance.keep)
        for event in advance.events:
            self._apply(event)
        self.head = advance.head
        return advance.keep

    def inbox_hash(self, position: int) -> bytes:
        """Chain value of the inbox after its first `position` items."""
        return EMPTY_CHAIN if position == 0 else self.items[position - 1].chain_hash

    def claim(self, key: bytes) -> PostedClaim | None:
        """The claim with that key."""
        return self._claims.get(key)

    def outcome(self, key: bytes) -> Outcome | None:
        """The outcome of a claim, or of the genesis."""
        if key == self.deployment.genesis_key:
            return self.deployment.genesis
        claim = self.claim(key)
        return None if claim is None else claim.outcome

    @property
    def final_head(self) -> bytes:
        """Key of the newest final claim, or of the genesis."""
        return self.finals[-1].key if self.finals else self.deployment.genesis_key

    def is_final(self, key: bytes) -> bool:
        """True once the claim cannot change any more."""
        return key in self._final

    def is_dead(self, key: bytes) -> bool:
        """True when the claim was cancelled or discarded, or stands on one that was."""
        while key in self._claims and key not in self._final:
            if key in self._dead:
                return True
            key = self._claims[key].parent
        return False

    def children(self, parent: bytes) -> list[PostedClaim]:
        """Claims on `parent`, dead ones included."""
        return self._children.get(parent, [])

    def siblings(self, parent: bytes) -> list[PostedClaim]:
        """Claims on `parent` that are not dead themselves."""
        return [claim for claim in self.children(parent) if claim.key not in self._dead]

    def _undo(self, keep: int) -> None:
        self.records = [entry for entry in self.records if entry.block <= keep]
        self.items = [entry for entry in self.items if entry.block <= keep]
        self.claims = [entry for entry in self.claims if entry.block <= keep]
        self.finals = [entry for entry in self.finals if entry.block <= keep]
        self.deaths = [entry for entry in self.deaths if entry.block <= keep]
        self._final = {verdict.key for verdict in self.finals}
        self._dead = {verdict.key for verdict in self.deaths}
        claims, self.claims, self._claims, self._children = self.claims, [], {}, {}
        for claim in claims:
            self._append_claim(claim)

    def _apply(self, event: Event) -> None:
        values = event.arguments
        match event.name:
            case "ItemAppended":
                self._append_item(event)
            case "RecordPosted":
                self._append_record(event)
            case "RecordData":
                last = self.records[-1] if self.records else None
                if last is None or last.record.index != values["index"]:
                    raise InconsistentL1Error("data without its record in the node's events")
                self.records[-1] = PostedRecord(
                    record=last.record,
                    block=last.block,
                    transaction=last.transaction,
                    data=values["data"],
                )
            case "ClaimProposed":
                fields = {name: value for name, value in values.items() if name != "outcome"}
                outcome = Outcome.from_abi(values["outcome"])
                self._append_claim(PostedClaim(**fields, outcome=outcome, block=event.block))
            case "ClaimFinal":
                self.finals.append(Verdict(key=values["key"], block=event.block))
                self._final.add(values["key"])
            case "ClaimCancelled" | "ClaimDiscarded":
                self.deaths.append(Verdict(key=values["key"], block=event.block))
                self._dead.add(values["key"])

    def _append_claim(self, claim: PostedClaim) -> None:
        self.claims.append(claim)
        self._claims[claim.key] = claim
        self._children.setdefault(claim.parent, []).append(claim)

    def _append_item(self, event: Event) -> None:
        values = event.arguments
        chain_hash = next_hash(self.inbox_hash(len(self.items)), values["item"])
        if values["position"] != len(self.items) or values["chain_hash"] != chain_hash:
            raise InconsistentL1Error(
                f"inbox item {values['position']} does not continue the chain: use another L1 node"
            )
        self.items.append(PostedItem(item=values["item"], chain_hash=chain_hash, block=event.block))

    def _append_record(self, event: Event) -> None:
        record = DataRecord.from_abi(event.arguments["record"])
        if record.index != len(self.records) or record.digest != event.arguments["record_hash"]:
            raise InconsistentL1Error(
                f"data record {record.index} does not match its hash: use another L1 node"
            )
        self.records.append(
            PostedRecord(record=record, block=event.block, transaction=event.transaction)
        )
