"""A small chain to drive: memory with a genesis, and builders that sign what they send."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entresol.crypto import eip712
from entresol.crypto.secp256k1 import address_of, compact_signature, sign_digest
from entresol.kernel import layout, transition, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.memory import Memory
from entresol.rollup.block import Block, encode_block
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import (
    LaneMessage,
    Operation,
    OwnerMessage,
    OwnerOperation,
    encode_message,
    owner_digest,
)

PARAMS = layout.PARAMS
TOKEN = bytes.fromhex("aa" * 20)
ROLLUP = bytes.fromhex("bb" * 20)


def secret_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Chain:
    """Memory and a genesis; person number n has the secret key n (1 operator, 2 publisher)."""

    def __init__(self, **settings: Any) -> None:
        self.memory = Memory()
        self.base = self.memory.base
        self.configuration = GenesisConfiguration(
            chain_id=31337,
            rollup=ROLLUP,
            token=TOKEN,
            operator=address_of(secret_of(1)),
            publisher=address_of(secret_of(2)),
            **settings,
        )
        self.domain = self.configuration.domain
        build_genesis(self.base, self.configuration)
        self.set_params()

    @property
    def durable(self) -> Any:
        return views.durable(self.memory.array)

    @property
    def header(self) -> Any:
        return self.durable["header"]

    @property
    def run(self) -> Any:
        return self.memory.view(layout.SCRATCH_RUN_BASE, layout.RUN)[()]

    def address(self, person: int) -> bytes:
        return address_of(secret_of(person))

    def sign(self, person: int, digest: bytes) -> bytes:
        """The 64-byte compact signature of a person over a digest."""
        return compact_signature(sign_digest(secret_of(person), digest))

    def sign_struct(self, person: int, name: str, values: dict[str, Any]) -> bytes:
        return self.sign(person, eip712.digest(self.domain, name, values))

    def put(self, data: bytes, address: int = layout.BATCH_DATA_BASE) -> int:
        """Write raw bytes where machine address `address` is; returns that address."""
        self.memory.write(address, data)
        return address

    def put_address(self, raw: bytes, slot: int = 0) -> int:
        """Write 20 raw bytes into INPUT; returns their native address."""
        at = layout.BATCH_DATA_BASE + (1 << 16) + 32 * slot
        self.memory.write(at, raw)
        return self.base + at

    def set_params(self, **fields: int) -> None:
        params = self.memory.view(layout.PARAMS_BASE, PARAMS)
        params["domain"] = np.frombuffer(self.domain, "<u8")
        for name, value in fields.items():
            params[name] = value

    def events(self, kind: int | None = None) -> np.ndarray:
        """Events since the start (or of one kind), oldest first; the ring must not have wrapped."""
        count = int(self.run["event_count"])
        assert count <= layout.MAX_EVENTS
        ring = self.memory.view(layout.SCRATCH_EVENTS, layout.EVENT, count)
        return ring if kind is None else ring[ring["kind"] == kind]

    def state(self) -> bytes:
        """The bytes of STATE that are not zero, with their addresses, for exact comparison."""
        pages = self.memory.written_pages("STATE")
        return b"".join(
            int(p).to_bytes(8, "little") + self.memory.read(int(p), 4096) for p in pages
        )

    # --- inbox items -------------------------------------------------------------------------

    def item(self, kind: int, sender: int, **fields: Any) -> InboxItem:
        """An inbox item whose position is left to `open`."""
        return InboxItem(kind=kind, sender=self.address(sender), **fields)

    def deposit_item(self, person: int, amount: int, subaccount: int = 0) -> InboxItem:
        return self.item(
            layout.INBOX_DEPOSIT,
            person,
            recipient=self.address(person),
            amount=amount,
            subaccount=subaccount,
        )

    def put_items(self, items: list[InboxItem]) -> list[bytes]:
        """Number the items from the chain's inbox position on and put them into INPUT."""
        first = int(self.header["inbox_position"])
        raw = [replace(item, position=first + index).encode() for index, item in enumerate(items)]
        self.memory.write(layout.INBOX_ITEMS_BASE, b"".join(raw))
        self.set_params(inbox_first=first, inbox_count=len(raw))
        return raw

    # --- live blocks -------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return int(self.header["last_time_ms"])

    def open(self, time_ms: int | None = None, items: list[InboxItem] | None = None) -> int:
        self.put_items(items or [])
        time_ms = self.now + 100 if time_ms is None else time_ms
        return int(transition.open_block(self.base, time_ms, len(items or [])))

    def close(self) -> int:
        return int(transition.close_block(self.base))

    def send(self, message: LaneMessage | OwnerMessage | bytes) -> int:
        """Apply a message to the open block; the Refusal, or 0."""
        raw = message if isinstance(message, bytes) else encode_message(message)
        return int(transition.apply_message(self.base, self.put(raw)))

    def check(self, message: LaneMessage | OwnerMessage | bytes) -> int:
        raw = message if isinstance(message, bytes) else encode_message(message)
        return int(transition.check_message(self.base, self.put(raw)))

    def apply_block(self, block: Block) -> int:
        at = self.put(encode_block(block), layout.SCRATCH_BLOCK_BASE)
        return int(transition.apply_block(self.base, at))

    # --- messages ----------------------------------------------------------------------------

    def lane_message(self, lane: int, *operations: Operation, **changes: Any) -> LaneMessage:
        """The lane's next message, valid for a minute from now."""
        values = {
            "lane": lane,
            "sequence": int(self.durable["lane"]["sequence"][lane]) + 1,
            "valid_until_ms": self.now + 60_000,
            "operations": operations or (Operation(kind=layout.CANCEL_ALL),),
        }
        return LaneMessage(**{**values, **changes})

    def owner_message(
        self, account: int, person: int, kind: int, sequence: int | None = None, /, **fields: Any
    ) -> OwnerMessage:
        """The account's next owner message, signed by `person`."""
        if sequence is None:
            sequence = int(self.durable["account"]["owner_nonce"][account]) + 1
        unsigned = OwnerMessage(
            account=account,
            sequence=sequence,
            valid_until_ms=self.now + 60_000,
            operation=OwnerOperation(kind=kind, **fields),
        )
        signature = self.sign(person, owner_digest(self.domain, unsigned))
        return replace(unsigned, operation=replace(unsigned.operation, signature=signature))

    def status(self) -> int:
        """Rejection of the last operation applied."""
        return int(self.events(layout.EVENT_OUTCOME)[-1]["status"])

    def apply_owner(self, account: int, person: int, kind: int, /, **fields: Any) -> int:
        """Send an owner operation that must be accepted; its Rejection."""
        assert self.send(self.owner_message(account, person, kind, **fields)) == 0
        return self.status()

    def apply_lane(self, lane: int, *operations: Operation) -> list[int]:
        """Send a lane message that must be accepted; the Rejections of its operations."""
        before = len(self.events(layout.EVENT_OUTCOME))
        assert self.send(self.lane_message(lane, *operations)) == 0
        return [int(event["status"]) for event in self.events(layout.EVENT_OUTCOME)[before:]]

    def register(self, account: int, person: int, key: int, permissions: int = 1) -> int:
        """Register the key of person `key` for the account of `person`; the lane."""
        status = self.apply_owner(
            account,
            person,
            layout.REGISTER_LANE,
            address=self.address(key),
            expires_ms=self.now + 10_000_000,
            permissions=permissions,
        )
        assert status == 0
        return int(self.events(layout.EVENT_LANE_REGISTERED)[-1]["label"])

    def start(self, *people: int, amount: int = 1_000_000_000) -> list[int]:
        """Open a block that funds `people` and give each a lane with key 100 + person.

        The accounts are 3, 4, ...; the block stays open.  Returns the lanes.
        """
        assert self.open(1_000, [self.deposit_item(person, amount) for person in people]) == 0
        return [
            self.register(3 + index, person, 100 + person, permissions=5)
            for index, person in enumerate(people)
        ]

    def list_perpetual(self) -> None:
        """List a BTC perpetual (instrument 0): ticks of 0.1 from 50,000, lots of 0.001."""
        status = self.apply_owner(
            layout.OPERATOR_ACCOUNT,
            1,
            layout.LIST_INSTRUMENT,
            instrument_kind=layout.PERPETUAL,
            symbol=int.from_bytes(b"BTC", "little"),
            tick_size=100_000,
            contract_size=1_000,
            base_tick=500_000,
            minimum_lots=1,
            maximum_lots=100_000,
            maximum_age_ms=60_000,
        )
        assert status == 0

    def publish(self, lane: int, price: int = 60_000_000_000) -> None:
        """Publish index and mark of the perpetual in micro-collateral per unit."""
        index = Operation(kind=layout.ORACLE_INDEX, instrument=0, value=price)
        assert self.apply_lane(lane, index) == [0]

    def start_market(self, *people: int, amount: int = 1_000_000_000_000) -> tuple[int, list[int]]:
        """`start`, then list a perpetual and publish its price: (publisher's lane, lanes)."""
        lanes = self.start(*people, amount=amount)
        self.list_perpetual()
        publisher = self.register(
            layout.PUBLISHER_ACCOUNT, 2, 102, permissions=layout.PERMISSION_ORACLE
        )
        self.publish(publisher)
        return publisher, lanes


def place(side: int, price: int, quantity: int, slot: int = layout.ANY_SLOT, flags: int = 0) -> Any:
    """A PLACE record on instrument 0; price in ticks."""
    return Operation(
        kind=layout.PLACE, flags=flags | side, slot=slot, price=price, quantity=quantity
    )


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture(scope="session")
def make_chain() -> type[Chain]:
    return Chain


@pytest.fixture(scope="session")
def place_order() -> Any:
    return place
