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

from entresol.crypto.state_hash import hash_region
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration
from entresol.kernel.rejections import Invalid
from entresol.machine.image import Image, load_kernel_image
from entresol.rollup.derivation import Derivation, DerivedStep, PostedData
from entresol.sequencing import snapshots
from entresol.sequencing.recovery import FIRST_BATCH, SNAPSHOT_FOLDER
from entresol.settlement.deploy import Deployment
from entresol.settlement.proposer import RunResult, outcome_after
from entresol.settlement.reader import L1Reader, RecordData
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


@dataclass(slots=True)
class _Chain:
    """The derivation so far and what L1 should say of every record in it, in order."""

    deployment: Deployment
    derivation: Derivation
    records: list[DerivedRecord] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Of the one true claim about each record."""
    outcomes: list[Outcome] = field(default_factory=list)
    journals: list[bytes] = field(default_factory=list)
    """As the contract was given them: empty for a record that was invalid."""

    @property
    def header(self) -> Any:
        """The header record of the state."""
        return views.durable(self.derivation.memory.array)["header"]

    def take(self, read: RecordData, items: tuple[bytes, ...]) -> None:
        """Run a record and note what it did."""
        record, deployment = read.record, self.deployment
        first_block = int(self.header["next_block"])
        posted = PostedData(
            index=record.index,
            data=read.data,
            digest=record.digest,
            l1_time=record.l1_time,
            inbox_position=record.inbox_position,
            data_kind=record.data_kind,
            blob_count=len(record.blob_hashes),
        )
        step = self.derivation.take(posted, items)
        claim = step.claim(deployment.chain_id, deployment.rollup, deployment.program_id)
        parent = self.keys[-1] if self.keys else deployment.genesis_key
        before = self.outcomes[-1] if self.outcomes else deployment.genesis
        after = _outcome_after(before, record, step)
        self.keys.append(claim_key(parent, claim.identifier))
        self.outcomes.append(after)
        self.journals.append(step.journal if step.is_valid else b"")
        self.records.append(
            DerivedRecord(
                index=record.index,
                source="calldata" if record.source == CALLDATA else "blobs",
                data_bytes=record.data_bytes,
                l1_block=record.l1_block,
                l1_time=record.l1_time,
                exit_code=step.exit_code,
                first_block=first_block,
                next_block=int(self.header["next_block"]),
                operations=step.decoded_journal.operation_count,
                inbox_items=after.inbox_position - before.inbox_position,
                instructions=step.instructions,
                durable_root=step.after.durable,
                volatile_root=step.after.volatile,
                journal_hash=claim.journal_hash,
            )
        )


def _outcome_after(before: Outcome, record: DataRecord, step: DerivedStep) -> Outcome:
    result = RunResult(
        durable_before=step.before.durable,
        volatile_before=step.before.volatile,
        durable_after=step.after.durable,
        volatile_after=step.after.volatile,
        exit_code=step.exit_code,
        journal=step.journal,
    )
    return outcome_after(before, record, result)


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
    Raises DeriveError, DerivationError, BlobMissingError, L1Error, or, when the program is
    defective, DivergenceError or MachineFaultError.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DeriveError(f"{directory} is not empty: name a directory that can be filled.")
    image = load_kernel_image() if image is None else image
    chain = _start(deployment, genesis, image)
    reader.refresh()
    total = reader.record_count
    progress(0, total)
    for index in range(total):
        read = reader.record(index)
        first = chain.derivation.inbox_position
        last = min(read.record.inbox_position, first + layout.MAX_INBOX_ITEMS_PER_BATCH)
        # That none is missing is checked by the derivation, that none is forged by the reader.
        chain.take(read, reader.inbox_items(first, last))
        progress(index + 1, total)
    directory.mkdir(parents=True, exist_ok=True)
    result = _conclude(chain, reader.view, _write_snapshot(chain, directory))
    write_atomically(directory / REPORT_FILE, json.dumps(result.to_json(), indent=2) + "\n")
    return result


def _start(deployment: Deployment, genesis: GenesisConfiguration, image: Image) -> _Chain:
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
    derivation = Derivation(genesis, image)
    found, expected = derivation.roots, deployment.genesis
    if (found.durable, found.volatile) != (expected.durable_root, expected.volatile_root):
        raise DeriveError(
            f"The genesis configuration gives the durable root 0x{found.durable.hex()}, the "
            f"rollup was deployed with 0x{expected.durable_root.hex()}: it is not the "
            "configuration of this deployment."
        )
    return _Chain(deployment, derivation)


def _write_snapshot(chain: _Chain, directory: Path) -> str:
    head = snapshots.SnapshotHead(
        domain=chain.deployment.domain,
        frame=0,
        next_block=int(chain.header["next_block"]),
        next_batch=FIRST_BATCH + len(chain.records),
    )
    path = snapshots.write_snapshot(directory / SNAPSHOT_FOLDER, chain.derivation.memory, head)
    return str(path.relative_to(directory))


def _conclude(chain: _Chain, view: L1View, snapshot: str) -> DeriveResult:
    header, roots = chain.header, chain.derivation.roots
    valid = [record for record in chain.records if record.exit_code == 0]
    return DeriveResult(
        l1_block=view.head.number if view.head else 0,
        records=tuple(chain.records),
        claims=tuple(_compare(chain, view, claim) for claim in view.claims),
        blocks=sum(record.next_block - record.first_block for record in valid),
        operations=sum(record.operations for record in valid),
        fills=int(header["fill_count"]),
        inbox_items=chain.derivation.inbox_position,
        genesis_durable_root=chain.deployment.genesis_durable_root,
        genesis_volatile_root=chain.deployment.genesis_volatile_root,
        durable_root=roots.durable,
        volatile_root=roots.volatile,
        state_root=hash_region(roots.durable, roots.volatile),
        next_block=int(header["next_block"]),
        last_time_ms=int(header["last_time_ms"]),
        last_header_hash=header["last_header_hash"].tobytes(),
        withdrawals_root=header["withdrawal_root"].tobytes(),
        withdrawals_count=int(header["withdrawal_count"]),
        snapshot=snapshot,
    )


def _compare(chain: _Chain, view: L1View, claim: PostedClaim) -> ComparedClaim:
    """Hold a claim against the one true claim about its record."""
    return ComparedClaim(
        record=claim.record_index,
        key=claim.key,
        proposer=claim.proposer,
        is_final=view.is_final(claim.key),
        is_dead=view.is_dead(claim.key),
        differences=tuple(_differences(chain, claim)),
    )


def _differences(chain: _Chain, claim: PostedClaim) -> list[str]:
    index = claim.record_index
    if not 0 <= index < len(chain.records):
        return [f"data record {index} does not exist"]
    if claim.key == chain.keys[index] and claim.outcome == chain.outcomes[index]:
        return []
    found: list[str] = []
    parent = chain.keys[index - 1] if index else chain.deployment.genesis_key
    if claim.parent != parent:
        found.append("it stands on a state that was not derived")
    derived, record = chain.outcomes[index], chain.records[index]
    if claim.exit_code != record.exit_code:
        found.append(f"exit code {claim.exit_code}, derived {_exit_name(record.exit_code)}")
    if claim.journal != chain.journals[index]:
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
