"""A venue without a node: lanes whose messages the native kernel applies at once.

For tests of what clients do; ordering, signatures and networks are tested elsewhere.
"""

import asyncio
import time

from entresol.client.instruments import Instrument
from entresol.client.keys import Key, derive_session_key, key_from_secret
from entresol.client.lane import LaneChannel, MessageRefusedError, Outcome
from entresol.client.listing import Listing
from entresol.client.signer import LaneSigner, SignedMessage, sign_owner_operation
from entresol.crypto.keccak import keccak256
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.kernel.invariants import check_invariants
from entresol.kernel.rejections import Refusal
from entresol.machine.memory import Memory
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import OwnerOperation, initial_tip
from entresol.sequencing.execution import Execution
from entresol.sequencing.sequencer import fold_events, resolve_quotes

DAY = 86_400_000


def key(name: str) -> Key:
    return key_from_secret(keccak256(b"kernel venue " + name.encode()))


OPERATOR, PUBLISHER = key("operator"), key("publisher")


class KernelVenue:
    """One open block after another on a native memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.configuration = GenesisConfiguration(
            chain_id=31337,
            rollup=b"\1" * 20,
            token=b"\2" * 20,
            operator=OPERATOR.address,
            publisher=PUBLISHER.address,
            rejections_per_second=1_000_000,
        )
        build_genesis(self.memory.base, self.configuration)
        self.execution = Execution(self.memory)
        self.now = time.time_ns() // 1_000_000
        self.inbox: list[bytes] = []
        self.operator_nonce = 0
        self.blocks = 0
        self.execution.open_block(self.now, ())

    @property
    def header(self):
        return self.execution.header

    def next_block(self) -> None:
        self.execution.close_block()
        self.now += 100
        items = tuple(self.inbox)
        self.inbox.clear()
        self.execution.open_block(self.now, items)
        self.blocks += 1

    def deposit(self, owner: Key, amount: int, subaccount: int = 0) -> int:
        """Returns the account's number."""
        position = int(self.header["inbox_position"])
        item = InboxItem(
            kind=layout.INBOX_DEPOSIT,
            sender=owner.address,
            recipient=owner.address,
            subaccount=subaccount,
            amount=amount,
            l1_block=1,
            l1_time=self.now // 1000,
            position=position,
        )
        self.inbox.append(item.encode())
        self.next_block()
        return int(self.header["account_count"]) - 1

    def owner(self, owner: Key, account: int, nonce: int, operation: OwnerOperation) -> None:
        message = sign_owner_operation(
            owner,
            self.configuration.domain,
            operation,
            account=account,
            sequence=nonce,
            valid_until_ms=self.now + DAY,
        )
        outcome = self.apply(message)
        outcome.raise_for_rejection()

    def lane(self, owner: Key, account: int, permissions: int) -> LaneChannel:
        session = derive_session_key(owner, self.configuration.domain, account)
        operation = OwnerOperation(
            kind=layout.REGISTER_LANE,
            address=session.address,
            permissions=permissions,
            expires_ms=self.now + DAY,
        )
        self.owner(owner, account, 1, operation)
        number = int(self.header["lane_count"]) - 1
        lane = views.durable(self.memory.array)["lane"][number]
        tip = initial_tip(
            self.configuration.domain, session.address, account, int(lane["registration"])
        )
        assert tip == lane["tip"].tobytes()
        signer = LaneSigner(
            session,
            self.configuration.domain,
            account=account,
            lane=number,
            tip=tip,
            sequence=0,
        )
        return LaneChannel(signer, self.send, self.read_lane)

    def list(self, listing: Listing) -> Instrument:
        self.operator_nonce += 1
        self.owner(OPERATOR, layout.OPERATOR_ACCOUNT, self.operator_nonce, listing.operation())
        return listing.instrument(int(self.header["instrument_count"]) - 1)

    def apply(self, message: SignedMessage) -> Outcome:
        first = self.execution.record_index
        self.execution.place(message.data)
        refusal = self.execution.apply()
        if refusal:
            raise MessageRefusedError(Refusal(refusal))
        is_owners = message.data[6] == layout.OWNER_MESSAGE
        count = 1 if is_owners else self.execution.record_index - first
        events = self.execution.read_events()
        statuses, slots, filled = fold_events(events, first, count)
        if not is_owners:
            resolve_quotes(message.data, first, events, statuses, slots, 0)
        assert all(status >= 0 for status in statuses)
        return Outcome(tuple(statuses), tuple(slots), tuple(filled))

    async def send(self, message: SignedMessage) -> "asyncio.Future[Outcome]":
        if self.execution.record_index > 5_000:
            self.next_block()
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self.apply(message))
        except MessageRefusedError as error:
            answer.set_exception(error)
        return answer

    async def read_lane(self, lane: int) -> tuple[bytes, int]:
        record = views.durable(self.memory.array)["lane"][lane]
        return record["tip"].tobytes(), int(record["sequence"])

    def check(self) -> None:
        self.next_block()
        assert check_invariants(self.memory.base) == 0
