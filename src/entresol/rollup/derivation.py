"""Derivation: the one state that data records and inbox items on L1 lead to, and its claims.

Pure: bytes in, states and claims out.  Each record runs in the machine and natively, which must
agree byte for byte.  Every data record has exactly one valid claim: one that ends with a non-zero
exit code leaves state and cursors as they were and has an empty journal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine import execute
from entresol.machine.image import Image
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree
from entresol.rollup.claim import EMPTY_JOURNAL, Claim, Journal, decode_journal
from entresol.rollup.errors import DerivationError


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedData:
    """One data record as L1 fixes it.

    `digest` is the record's hash on L1, `l1_time` in seconds.  Inbox items up to, not including,
    `inbox_position` are available to it.
    """

    index: int
    data: bytes
    digest: bytes
    l1_time: int
    inbox_position: int
    data_kind: int = 0
    blob_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The two halves of a state root, 32 bytes each."""

    durable: bytes
    volatile: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedStep:
    """What one data record did; `journal` is empty and the roots equal when it was invalid."""

    record: PostedData
    before: Roots
    after: Roots
    exit_code: int
    journal: bytes
    instructions: int

    @property
    def is_valid(self) -> bool:
        """True when the record changed the state."""
        return self.exit_code == 0

    @property
    def decoded_journal(self) -> Journal:
        """The journal's fields; all zero when the record was invalid."""
        return decode_journal(self.journal)

    def claim(self, chain_id: int, rollup: bytes, program_id: bytes) -> Claim:
        """The one true claim about this record."""
        return Claim(
            chain_id=chain_id,
            rollup=rollup,
            record_index=self.record.index,
            program_id=program_id,
            durable_before=self.before.durable,
            volatile_before=self.before.volatile,
            data_record=self.record.digest,
            durable_after=self.after.durable,
            volatile_after=self.after.volatile,
            exit_code=self.exit_code,
            journal_hash=keccak256(self.journal),
        )


def encode_params(record: PostedData, domain: bytes, inbox_first: int) -> bytes:
    """The PARAMS page of a record on a state that consumed `inbox_first` inbox items."""
    available = min(record.inbox_position - inbox_first, layout.MAX_INBOX_ITEMS_PER_BATCH)
    params = np.zeros((), layout.PARAMS)
    params["domain"] = np.frombuffer(domain, "<u8")
    params["data_bytes"] = len(record.data)
    params["data_kind"] = record.data_kind
    params["record_index"] = record.index
    params["l1_time"] = record.l1_time
    params["inbox_first"] = inbox_first
    params["inbox_count"] = max(available, 0)
    params["blob_count"] = record.blob_count
    return params.tobytes()


class Derivation:
    """The state after the data records so far, from a genesis on, under one program."""

    def __init__(self, genesis: GenesisConfiguration, image: Image) -> None:
        self.memory = Memory()
        self._kept = Memory()
        self._tree = StateTree()
        self._image = image
        self._domain = genesis.domain
        self._next_record = 0
        build_genesis(self.memory.base, genesis)
        self._kept.copy_state_from(self.memory)
        self._tree.update_pages(self.memory.base, self.memory.written_pages("STATE"), PAGE_BYTES)

    @property
    def roots(self) -> Roots:
        """Roots of the state as it is now."""
        return Roots(durable=self._tree.durable_root, volatile=self._tree.volatile_root)

    @property
    def next_record(self) -> int:
        """Index of the data record that must come next."""
        return self._next_record

    @property
    def inbox_position(self) -> int:
        """Inbox items that the state has consumed."""
        return int(views.durable(self.memory.array)["header"]["inbox_position"])

    @property
    def inbox_hash(self) -> bytes:
        """Chain value of the consumed inbox items."""
        raw: bytes = views.durable(self.memory.array)["header"]["inbox_hash"].tobytes()
        return raw

    def take(self, record: PostedData, inbox_items: Sequence[bytes]) -> DerivedStep:
        """Run the next data record; `inbox_items` are those that it may consume, in order.

        Raises DerivationError when record or items do not continue where the last ones ended,
        machine.execute.DivergenceError or MachineFaultError when the program is defective.
        """
        items = self._check(record, inbox_items)
        before = self.roots
        params = encode_params(record, self._domain, self.inbox_position)
        run = execute.compare(self.memory, self._image, params, record.data, b"".join(items))
        if run.exit_code == 0 and run.dirty_leaves is not None:
            self._keep(run.dirty_leaves)
        else:
            self.memory.copy_state_from(self._kept)
        self._next_record += 1
        return DerivedStep(
            record=record,
            before=before,
            after=self.roots,
            exit_code=run.exit_code,
            journal=run.journal if run.exit_code == 0 else EMPTY_JOURNAL,
            instructions=run.instructions or 0,
        )

    def _check(self, record: PostedData, inbox_items: Sequence[bytes]) -> Sequence[bytes]:
        if record.index != self._next_record:
            raise DerivationError(
                f"data record {record.index} was given where {self._next_record} is next"
            )
        needed = max(record.inbox_position - self.inbox_position, 0)
        needed = min(needed, layout.MAX_INBOX_ITEMS_PER_BATCH)
        if len(inbox_items) != needed:
            raise DerivationError(
                f"data record {record.index} may consume {needed} inbox items from "
                f"{self.inbox_position} on, but {len(inbox_items)} were given"
            )
        if any(len(item) != layout.INBOX_ITEM_BYTES for item in inbox_items):
            raise DerivationError(f"an inbox item is {layout.INBOX_ITEM_BYTES} bytes")
        return inbox_items

    def _keep(self, dirty_leaves: np.ndarray) -> None:
        """Make the new state the one that an invalid record falls back to."""
        self._tree.update(self.memory.base, dirty_leaves)
        shape = (-1, layout.LEAF_BYTES)
        changed = self.memory.array.reshape(shape)[dirty_leaves]
        self._kept.array.reshape(shape)[dirty_leaves] = changed
