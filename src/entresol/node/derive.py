"""Rebuilds the exchange from L1 alone and holds every claim on L1 against it.

Nothing of a running node is used: the first state comes from its published configuration and must
have the roots that the contract was deployed with; every later one comes from data records and
inbox items.  Each record runs natively and in the machine, and the two must leave the same bytes.

A claim that contradicts this is a result, not an error: it is what one derives for.  Errors are
only what makes the question unanswerable: missing blobs, a node that lies, another program.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.kernel.rejections import Invalid
from entresol.machine import execute
from entresol.machine.image import Image, load_kernel_image
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree
from entresol.rollup.claim import EMPTY_JOURNAL, Claim, decode_journal
from entresol.sequencing import snapshots
from entresol.sequencing.recovery import FIRST_BATCH, SNAPSHOT_FOLDER
from entresol.settlement.deploy import Deployment
from entresol.settlement.proposer import RunResult, outcome_after
from entresol.settlement.reader import L1Reader
from entresol.settlement.records import CALLDATA, DataRecord, Outcome, claim_key
from entresol.settlement.sender import write_atomically
from entresol.settlement.view import L1View, PostedClaim

REPORT_FILE: Final = "derived.json"

Progress = Callable[[int, int], None]
"""Called with (records done, records in all), first with nothing done."""


class DeriveError(Exception):
    """The state cannot be derived; the message says what is missing or does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRecord:
    """What one data record did; roots are those after it."""

    index: int
    source: str
    data_bytes: int
    l1_block: int
    l1_time: int
    exit_code: int
    first_block: int
    next_block: int
    operations: int
    inbox_items: int
    instructions: int
    durable_root: bytes
    volatile_root: bytes
    journal_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedClaim:
    """A claim on L1 and what it says differently; one that agrees has no differences."""

    record: int
    key: bytes
    proposer: bytes
    is_final: bool
    is_dead: bool
    """Cancelled or discarded: nothing can be withdrawn against it."""
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether it claims exactly what was derived, on a state that was derived."""
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveResult:
    """The derived state and the verdict on every claim; counts are over all valid records."""

    l1_block: int
    records: tuple[DerivedRecord, ...]
    claims: tuple[ComparedClaim, ...]
    blocks: int
    operations: int
    fills: int
    inbox_items: int
    genesis_durable_root: bytes
    genesis_volatile_root: bytes
    durable_root: bytes
    volatile_root: bytes
    state_root: bytes
    next_block: int
    last_time_ms: int
    last_header_hash: bytes
    withdrawals_root: bytes
    withdrawals_count: int
    snapshot: str
    """Name of the state's file in the directory."""

    @property
    def agrees(self) -> bool:
        """Whether no claim that lives or is final contradicts what was derived."""
        return all(claim.agrees or (claim.is_dead and not claim.is_final) for claim in self.claims)

    @property
    def final_records(self) -> int:
        """Data records with a final claim."""
        return sum(claim.is_final for claim in self.claims)

    def to_json(self) -> dict[str, Any]:
        """Plain values, bytes as 0x-prefixed hexadecimal."""
        return {**_plain(asdict(self)), "agrees": self.agrees, "final_records": self.final_records}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def encode_parameters(record: DataRecord, domain: bytes, inbox_first: int) -> bytes:
    """PARAMS as L1 fixes them for `record` on a state that consumed `inbox_first` inbox items.

    Of the items up to the record's position as many are available as INPUT holds.
    """
    params = np.zeros((), layout.PARAMS)
    params["domain"] = np.frombuffer(domain, "<u8")
    params["data_bytes"] = record.data_bytes
    params["data_kind"] = record.data_kind
    params["record_index"] = record.index
    params["l1_time"] = record.l1_time
    params["inbox_first"] = inbox_first
    params["inbox_count"] = min(
        record.inbox_position - inbox_first, layout.MAX_INBOX_ITEMS_PER_BATCH
    )
    params["blob_count"] = len(record.blob_hashes)
    return params.tobytes()


@dataclass(slots=True)
class _Derivation:
    """The state so far, the state before the record that runs, and what L1 should say of it."""

    deployment: Deployment
    image: Image
    memory: Memory
    kept: Memory
    tree: StateTree
    outcome: Outcome
    records: list[DerivedRecord] = field(default_factory=list)
    claim_ids: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Key of the one true claim about each record, in order."""
    outcomes: list[Outcome] = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)

    @property
    def header(self) -> Any:
        """The header record of the state."""
        return views.durable(self.memory.array)["header"]

    def take(self, record: DataRecord, data: bytes, items: tuple[bytes, ...]) -> None:
        """Run a record and move to the state after it; a failed one leaves the state alone."""
        before = (self.tree.durable_root, self.tree.volatile_root)
        first_block = int(self.header["next_block"])
        params = encode_parameters(record, self.deployment.domain, self.outcome.inbox_position)
        run = execute.compare(self.memory, self.image, params, data, b"".join(items))
        if run.exit_code == 0 and run.dirty_leaves is not None:
            self.tree.update(self.memory.base, run.dirty_leaves)
            leaves = (-1, layout.LEAF_BYTES)
            changed = self.memory.array.reshape(leaves)[run.dirty_leaves]
            self.kept.array.reshape(leaves)[run.dirty_leaves] = changed
        else:
            self.memory.copy_state_from(self.kept)
        result = RunResult(
            durable_before=before[0],
            volatile_before=before[1],
            durable_after=self.tree.durable_root,
            volatile_after=self.tree.volatile_root,
            exit_code=run.exit_code,
            journal=run.journal if run.exit_code == 0 else b"",
        )
        self._note(record, result, first_block, run.instructions or 0)

    def _note(
        self, record: DataRecord, result: RunResult, first_block: int, instructions: int
    ) -> None:
        valid = result.exit_code == 0
        journal = decode_journal(result.journal) if valid else None
        after = outcome_after(self.outcome, record, result)
        consumed = after.inbox_position - self.outcome.inbox_position
        parent = self.keys[-1] if self.keys else self.deployment.genesis_key
        identifier = _claim_id(self.deployment, record, result)
        self.outcome = after
        self.outcomes.append(after)
        self.results.append(result)
        self.claim_ids.append(identifier)
        self.keys.append(claim_key(parent, identifier))
        self.records.append(
            DerivedRecord(
                index=record.index,
                source="calldata" if record.source == CALLDATA else "blobs",
                data_bytes=record.data_bytes,
                l1_block=record.l1_block,
                l1_time=record.l1_time,
                exit_code=result.exit_code,
                first_block=first_block,
                next_block=int(self.header["next_block"]),
                operations=journal.operation_count if journal else 0,
                inbox_items=consumed,
                instructions=instructions,
                durable_root=result.durable_after,
                volatile_root=result.volatile_after,
                journal_hash=keccak256(result.journal or EMPTY_JOURNAL),
            )
        )


def _claim_id(deployment: Deployment, record: DataRecord, result: RunResult) -> bytes:
    return Claim(
        chain_id=deployment.chain_id,
        rollup=deployment.rollup,
        record_index=record.index,
        program_id=deployment.program_id,
        durable_before=result.durable_before,
        volatile_before=result.volatile_before,
        data_record=record.digest,
        durable_after=result.durable_after,
        volatile_after=result.volatile_after,
        exit_code=result.exit_code,
        journal_hash=keccak256(result.journal or EMPTY_JOURNAL),
    ).identifier


def derive(
    deployment: Deployment,
    reader: L1Reader,
    directory: Path,
    progress: Progress = lambda _, __: None,
    *,
    genesis: GenesisConfiguration,
    image: Image | None = None,
) -> DeriveResult:
    """Derive the state from what `reader` finds on L1 and write it, with a report, to `directory`.

    `directory` must be empty or absent.  `genesis` is the published configuration; that it is the
    right one is checked against the roots on L1.  `image` is the program, this release's by
    default.  The snapshot is one that a node starts from.
    Raises DeriveError, BlobMissingError, L1Error, execute.DivergenceError, MachineFaultError.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DeriveError(f"{directory} is not empty: name a directory that can be filled.")
    image = load_kernel_image() if image is None else image
    state = _start(deployment, genesis, image)
    reader.refresh()
    view = reader.view
    total = reader.record_count
    progress(0, total)
    for index in range(total):
        data = reader.record(index)
        first = state.outcome.inbox_position
        last = min(data.record.inbox_position, first + layout.MAX_INBOX_ITEMS_PER_BATCH)
        items = reader.inbox_items(first, last)
        if len(items) != last - first:
            raise DeriveError(
                f"Data record {index} makes the inbox items up to {last} available, but L1 shows "
                f"{len(view.items)}: use another L1 node."
            )
        state.take(data.record, data.data, items)
        progress(index + 1, total)
    directory.mkdir(parents=True, exist_ok=True)
    result = _conclude(state, view, _write_snapshot(state, directory))
    write_atomically(directory / REPORT_FILE, json.dumps(result.to_json(), indent=2) + "\n")
    return result


def _start(deployment: Deployment, genesis: GenesisConfiguration, image: Image) -> _Derivation:
    """The first state, checked against what was deployed."""
    if image.program_id != deployment.program_id:
        raise DeriveError(
            f"The rollup runs the program 0x{deployment.program_id.hex()}, this release builds "
            f"0x{image.program_id.hex()}: derive with the release that was deployed."
        )
    if (genesis.domain, genesis.token) != (deployment.domain, deployment.token):
        raise DeriveError(
            "The genesis configuration names another chain, rollup or token than the deployment."
        )
    memory, kept, tree = Memory(), Memory(), StateTree()
    build_genesis(memory.base, genesis)
    kept.copy_state_from(memory)
    tree.update_pages(memory.base, memory.written_pages("STATE"), PAGE_BYTES)
    expected = deployment.genesis
    if (tree.durable_root, tree.volatile_root) != (
        expected.durable_root,
        expected.volatile_root,
    ):
        raise DeriveError(
            f"The genesis configuration gives the durable root 0x{tree.durable_root.hex()}, the "
            f"rollup was deployed with 0x{expected.durable_root.hex()}: it is not the "
            "configuration of this deployment."
        )
    return _Derivation(deployment, image, memory, kept, tree, expected)


def _write_snapshot(state: _Derivation, directory: Path) -> str:
    head = snapshots.SnapshotHead(
        domain=state.deployment.domain,
        frame=0,
        next_block=int(state.header["next_block"]),
        next_batch=FIRST_BATCH + len(state.records),
    )
    path = snapshots.write_snapshot(directory / SNAPSHOT_FOLDER, state.memory, head)
    return str(path.relative_to(directory))


def _conclude(state: _Derivation, view: L1View, snapshot: str) -> DeriveResult:
    header = state.header
    valid = [record for record in state.records if record.exit_code == 0]
    return DeriveResult(
        l1_block=view.head.number if view.head else 0,
        records=tuple(state.records),
        claims=tuple(_compare(state, view, claim) for claim in view.claims),
        blocks=sum(record.next_block - record.first_block for record in valid),
        operations=sum(record.operations for record in valid),
        fills=int(header["fill_count"]),
        inbox_items=state.outcome.inbox_position,
        genesis_durable_root=state.deployment.genesis_durable_root,
        genesis_volatile_root=state.deployment.genesis_volatile_root,
        durable_root=state.tree.durable_root,
        volatile_root=state.tree.volatile_root,
        state_root=state.tree.state_root,
        next_block=int(header["next_block"]),
        last_time_ms=int(header["last_time_ms"]),
        last_header_hash=header["last_header_hash"].tobytes(),
        withdrawals_root=header["withdrawal_root"].tobytes(),
        withdrawals_count=int(header["withdrawal_count"]),
        snapshot=snapshot,
    )


def _compare(state: _Derivation, view: L1View, claim: PostedClaim) -> ComparedClaim:
    """Hold a claim against the one true claim about its record."""
    return ComparedClaim(
        record=claim.record_index,
        key=claim.key,
        proposer=claim.proposer,
        is_final=view.is_final(claim.key),
        is_dead=view.is_dead(claim.key),
        differences=tuple(_differences(state, claim)),
    )


def _differences(state: _Derivation, claim: PostedClaim) -> list[str]:
    index = claim.record_index
    if not 0 <= index < len(state.records):
        return [f"data record {index} does not exist"]
    if claim.key == state.keys[index] and claim.outcome == state.outcomes[index]:
        return []
    found: list[str] = []
    parent = state.keys[index - 1] if index else state.deployment.genesis_key
    if claim.parent != parent:
        found.append("it stands on a state that was not derived")
    derived, result = state.outcomes[index], state.results[index]
    if claim.exit_code != result.exit_code:
        found.append(f"exit code {claim.exit_code}, derived {_exit_name(result.exit_code)}")
    if claim.journal != result.journal:
        found.append("another journal")
    for name in Outcome.__slots__:
        claimed, expected = getattr(claim.outcome, name), getattr(derived, name)
        if claimed != expected:
            found.append(f"{name} {_text(claimed)}, derived {_text(expected)}")
    if not found:
        found.append("its id is not that of the derived claim")
    return found


def _exit_name(code: int) -> str:
    known = {int(member): member.name for member in Invalid}
    return f"{code} ({known[code]})" if code in known else str(code)


def _text(value: int | bytes) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
