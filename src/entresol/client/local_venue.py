"""A whole exchange inside one process: the native kernel, no node, no L1.

For trying strategies offline, for tests, and for measuring what batches cost.  Lanes and messages
are the real ones; what a node adds (ordering, durability, receipts) is missing.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from entresol.client.errors import MessageRefusedError
from entresol.client.instruments import Instrument
from entresol.client.keys import Key, derive_session_key, key_from_secret
from entresol.client.lane import LaneChannel
from entresol.client.listing import Listing
from entresol.client.outcome import Outcome
from entresol.client.signer import LaneSigner, SignedMessage, sign_owner_operation
from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import compact_signature
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.kernel.invariants import check_invariants
from entresol.kernel.rejections import Refusal
from entresol.machine.memory import Memory
from entresol.rollup.block import Block, encode_block
from entresol.rollup.errors import RollupDataError
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import OwnerOperation
from entresol.rollup.records import encode_record
from entresol.sequencing.execution import Execution
from entresol.sequencing.outcomes import fold_events, resolve_quotes

DAY_MS: Final = 86_400_000
BLOCK_MS: Final = 100
MAX_BLOCK_RECORDS: Final = 5_000


def named_key(name: str) -> Key:
    """A key that anybody can make again from `name`: for venues without real money only."""
    return key_from_secret(keccak256(b"entresol local venue " + name.encode()))


class InvariantError(Exception):
    """The kernel's own invariants do not hold: a defect."""


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """Blocks since the last batch with what a data record needs beside them."""

    blocks: list[bytes]
    lane_signatures: list[bytes]
    inbox_first: int
    inbox_items: list[bytes]


class LocalVenue:
    """Accounts, lanes and markets on a native memory; block time advances by itself."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.operator, self.publisher = named_key("operator"), named_key("publisher")
        self.configuration = GenesisConfiguration(
            chain_id=31337,
            rollup=b"\1" * 20,
            token=b"\2" * 20,
            operator=self.operator.address,
            publisher=self.publisher.address,
            rejections_per_second=1_000_000,
        )
        build_genesis(self.memory.base, self.configuration)
        self.execution = Execution(self.memory)
        self.now = time.time_ns() // 1_000_000
        self._nonces: dict[int, int] = {}
        self._waiting: list[bytes] = []
        self._begin_batch()
        self._open_block(())

    @property
    def header(self) -> Any:
        """The state's header record; read only."""
        return self.execution.header

    @property
    def domain(self) -> bytes:
        """The EIP-712 domain that messages are signed under."""
        return self.configuration.domain

    # --- blocks and batches --------------------------------------------------------------------

    def _begin_batch(self) -> None:
        self._blocks: list[bytes] = []
        self._signatures: dict[tuple[int, int], bytes] = {}
        self._inbox_first = int(self.header["inbox_position"])
        self._items: list[bytes] = []

    def _open_block(self, items: tuple[bytes, ...]) -> None:
        self._block_items, self._messages = items, list[bytes]()
        self._number = self.execution.next_block
        self.execution.open_block(self.now, items)

    def _close_block(self) -> None:
        self.execution.close_block()
        block = Block(
            number=self._number,
            time_ms=self.now,
            inbox_count=len(self._block_items),
            messages=tuple(self._messages),
        )
        self._blocks.append(encode_block(block))
        self._items.extend(self._block_items)

    def next_block(self) -> None:
        """Close the open block and open the next, with the deposits that came in."""
        self._close_block()
        self.now += BLOCK_MS
        items, self._waiting = tuple(self._waiting), []
        self._open_block(items)

    def seal(self) -> LocalBatch:
        """End the batch with the open block and begin another."""
        self._close_block()
        signatures = [compact_signature(s) for s in self._signatures.values()]
        batch = LocalBatch(self._blocks, signatures, self._inbox_first, self._items)
        self.now += BLOCK_MS
        self._begin_batch()
        self._open_block(())
        return batch

    def parameters(self, batch: LocalBatch, data_bytes: int, record_index: int = 0) -> bytes:
        """PARAMS as L1 would fix them for the batch."""
        values = {
            "domain": self.domain,
            "data_bytes": data_bytes,
            "record_index": record_index,
            "l1_time": self.now // 1000 + 1,
            "inbox_first": batch.inbox_first,
            "inbox_count": len(batch.inbox_items),
            "blob_count": 1,
        }
        return encode_record(layout.PARAMS, values, RollupDataError)

    def check(self) -> None:
        """Close the block and raise InvariantError unless money and positions add up."""
        self.next_block()
        status = int(check_invariants(self.memory.base))
        if status:
            raise InvariantError(f"Invariant {status} of the kernel does not hold.")

    # --- opening accounts and markets ----------------------------------------------------------

    def deposit(self, owner: Key, amount: int, subaccount: int = 0) -> int:
        """Deposit millionths of collateral; returns the number of the account it opened."""
        item = InboxItem(
            kind=layout.INBOX_DEPOSIT,
            sender=owner.address,
            recipient=owner.address,
            subaccount=subaccount,
            amount=amount,
            l1_block=1,
            l1_time=self.now // 1000,
            position=int(self.header["inbox_position"]),
        )
        self._waiting.append(item.encode())
        self.next_block()
        return int(self.header["account_count"]) - 1

    def submit_owner_operation(
        self, owner: Key, account: int, operation: OwnerOperation
    ) -> Outcome:
        """Sign and apply one owner operation; raises OrderRejectedError."""
        self._nonces[account] = self._nonces.get(account, 0) + 1
        message = sign_owner_operation(
            owner,
            self.domain,
            operation,
            account=account,
            sequence=self._nonces[account],
            valid_until_ms=self.now + DAY_MS,
        )
        outcome = self.apply(message)
        outcome.raise_for_rejection()
        return outcome

    def open_lane(self, owner: Key, account: int, permissions: int) -> LaneChannel:
        """Register the derived session key and return its channel."""
        session = derive_session_key(owner, self.domain, account)
        operation = OwnerOperation(
            kind=layout.REGISTER_LANE,
            address=session.address,
            permissions=permissions,
            expires_ms=self.now + 30 * DAY_MS,
        )
        self.submit_owner_operation(owner, account, operation)
        number = int(self.header["lane_count"]) - 1
        tip = views.durable(self.memory.array)["lane"][number]["tip"].tobytes()
        signer = LaneSigner(session, self.domain, account=account, lane=number, tip=tip, sequence=0)
        return LaneChannel(signer, self.send, self.read_lane)

    def list(self, listing: Listing) -> Instrument:
        """List a market; returns it under its number."""
        operation = listing.operation()
        self.submit_owner_operation(self.operator, layout.OPERATOR_ACCOUNT, operation)
        return listing.instrument(int(self.header["instrument_count"]) - 1)

    # --- messages ------------------------------------------------------------------------------

    def apply(self, message: SignedMessage) -> Outcome:
        """Apply one message now; raises MessageRefusedError."""
        first = self.execution.record_index
        self.execution.place(message.data)
        refusal = self.execution.apply()
        if refusal:
            raise MessageRefusedError(Refusal(refusal))
        self._messages.append(message.data)
        is_owners = message.data[6] == layout.OWNER_MESSAGE
        count = 1 if is_owners else self.execution.record_index - first
        events = self.execution.read_events()
        statuses, slots, filled = fold_events(events, first, count)
        if not is_owners:
            resolve_quotes(message.data, first, events, statuses, slots, 0)
            self._note_signature(message)
        return Outcome(tuple(statuses), tuple(slots), tuple(filled))

    def _note_signature(self, message: SignedMessage) -> None:
        lane = int.from_bytes(message.data[:4], "little")
        record = views.durable(self.memory.array)["lane"][lane]
        self._signatures[lane, int(record["registration"])] = message.signature

    async def send(self, message: SignedMessage) -> "asyncio.Future[Outcome]":
        """What a lane's channel calls to send."""
        if self.execution.record_index > MAX_BLOCK_RECORDS:
            self.next_block()
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self.apply(message))
        except MessageRefusedError as error:
            answer.set_exception(error)
        return answer

    async def read_lane(self, lane: int) -> tuple[bytes, int]:
        """What a lane's channel calls to ask where the lane stands."""
        record = views.durable(self.memory.array)["lane"][lane]
        return record["tip"].tobytes(), int(record["sequence"])
