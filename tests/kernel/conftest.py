"""A small chain to drive: memory with a genesis, and builders that sign what they send."""

from typing import Any

import numpy as np
import pytest

from entresol.crypto import eip712
from entresol.crypto.secp256k1 import address_of, compact_signature, sign_digest
from entresol.kernel import layout, views
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.memory import Memory

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
        return b"".join(int(p).to_bytes(8, "little") + self.memory.read(int(p), 4096) for p in pages)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def make_chain() -> type[Chain]:
    return Chain
