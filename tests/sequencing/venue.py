"""A small venue for tests: keys, inbox items, and the messages that open it for trading."""

import random
import time
from dataclasses import dataclass

from entresol.client.keys import Key, key_from_secret
from entresol.client.operations import cancel, index_price, place
from entresol.client.signer import LaneSigner, SignedMessage, sign_owner_operation
from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.memory import Memory
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import Operation, OwnerOperation, initial_tip

FAR = 86_400_000
"""Messages are valid for a day from when a test starts."""

FIRST_ACCOUNT = 3
MARK = 60_000_000_000
BASE_TICK = 1
TICK = 500_000
MARK_TICK = MARK // TICK


def key(name: str) -> Key:
    return key_from_secret(keccak256(b"test key " + name.encode()))


OPERATOR, PUBLISHER, SEQUENCER = key("operator"), key("publisher"), key("sequencer")

GENESIS = GenesisConfiguration(
    chain_id=31337,
    rollup=bytes.fromhex("11" * 20),
    token=bytes.fromhex("22" * 20),
    operator=OPERATOR.address,
    publisher=PUBLISHER.address,
    rejections_per_second=1_000_000,
)


def genesis_memory() -> Memory:
    memory = Memory()
    build_genesis(memory.base, GENESIS)
    return memory


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def deposit(position: int, owner: Key, amount: int = 10**13) -> bytes:
    return InboxItem(
        kind=layout.INBOX_DEPOSIT,
        sender=owner.address,
        recipient=owner.address,
        amount=amount,
        l1_block=position + 1,
        l1_time=1_700_000_000 + position,
        position=position,
    ).encode()


def register(owner: Key, account: int, session: Key, permissions: int, nonce: int = 1) -> bytes:
    operation = OwnerOperation(
        kind=layout.REGISTER_LANE,
        address=session.address,
        permissions=permissions,
        expires_ms=now_ms() + 30 * FAR,
    )
    return sign_owner_operation(
        owner,
        GENESIS.domain,
        operation,
        account=account,
        sequence=nonce,
        valid_until_ms=now_ms() + FAR,
    ).data


def list_perpetual(nonce: int, symbol: bytes = b"BTC", underlying: int = 0) -> bytes:
    operation = OwnerOperation(
        kind=layout.LIST_INSTRUMENT,
        instrument_kind=layout.PERPETUAL,
        underlying=underlying,
        symbol=int.from_bytes(symbol, "little"),
        tick_size=TICK,
        contract_size=1000,
        base_tick=BASE_TICK,
        minimum_lots=1,
        maximum_lots=1_000_000,
        maximum_age_ms=FAR,
    )
    return sign_owner_operation(
        OPERATOR,
        GENESIS.domain,
        operation,
        account=layout.OPERATOR_ACCOUNT,
        sequence=nonce,
        valid_until_ms=now_ms() + FAR,
    ).data


@dataclass
class Trader:
    """An account with one lane, and a source of orders around the mark."""

    name: str
    account: int
    lane: int

    def __post_init__(self) -> None:
        self.owner, self.session = key(self.name), key(self.name + " session")
        self.random = random.Random(self.name)
        self.signer = self.lane_signer()

    def lane_signer(self) -> LaneSigner:
        """From the lane's first message on; lane and registration numbers go up together."""
        tip = initial_tip(GENESIS.domain, self.session.address, self.account, self.lane)
        return LaneSigner(
            self.session, GENESIS.domain, account=self.account, lane=self.lane, tip=tip, sequence=0
        )

    def sign(self, *operations: Operation) -> SignedMessage:
        return self.signer.extend(operations, now_ms() + FAR)

    def order(self) -> Operation:
        """A small order within five ticks of the mark: some rest, some trade."""
        side = self.random.randrange(2)
        price = MARK_TICK + self.random.randrange(-5, 6)
        return place(0, side, price, self.random.randrange(1, 20))

    def message(self, orders: int) -> SignedMessage:
        """Mostly orders, now and then a cancellation; some are rejected, as in life."""
        operations = [
            cancel(self.random.randrange(64)) if self.random.random() < 0.3 else self.order()
            for _ in range(orders)
        ]
        return self.sign(*operations)


def traders(count: int) -> list[Trader]:
    """Lane 1 is the publisher's; traders have accounts 3, 4, … and lanes 2, 3, …"""
    return [Trader(f"trader {n}", FIRST_ACCOUNT + n, 2 + n) for n in range(count)]


def publisher() -> Trader:
    publisher = Trader("publisher", layout.PUBLISHER_ACCOUNT, 1)
    assert publisher.owner == PUBLISHER
    return publisher


def opening_items(members: list[Trader]) -> list[bytes]:
    return [deposit(n, trader.owner) for n, trader in enumerate(members)]


def opening_messages(members: list[Trader]) -> list[tuple[bytes, bytes]]:
    """(message, signature) pairs that register lanes, list BTC-PERPETUAL and price it."""
    oracle = publisher()
    registrations = [
        register(oracle.owner, oracle.account, oracle.session, layout.PERMISSION_ORACLE),
        *(
            register(trader.owner, trader.account, trader.session, layout.PERMISSION_TRADE)
            for trader in members
        ),
    ]
    prices = oracle.sign(index_price(0, MARK))
    return [
        *((message, b"") for message in registrations),
        (list_perpetual(1), b""),
        (prices.data, prices.signature),
    ]
