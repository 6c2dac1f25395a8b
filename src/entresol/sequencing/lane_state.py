"""Reads one lane or one account of the live state quickly, as plain Python values."""

import struct
from dataclasses import dataclass
from typing import Any, Final

from entresol.kernel import layout
from entresol.machine.memory import Memory


def _offset(dtype: Any, name: str) -> int:
    return int(dtype.fields[name][1])


_LANES: Final = layout.DURABLE_BASE + _offset(layout.DURABLE, "lane")
_ACCOUNTS: Final = layout.DURABLE_BASE + _offset(layout.DURABLE, "account")
_LANE_BYTES: Final = layout.LANE.itemsize
_ACCOUNT_BYTES: Final = layout.ACCOUNT.itemsize
_LANE: Final = struct.Struct("<32s20sIQQQI")
_OWNER: Final = _offset(layout.ACCOUNT, "owner")
_NONCE: Final = _offset(layout.ACCOUNT, "owner_nonce")
_ACCOUNT_COUNT: Final = layout.DURABLE_BASE + _offset(layout.HEADER, "account_count")

if [_offset(layout.LANE, name) for name in layout.LANE.fields][:7] != [0, 32, 52, 56, 64, 72, 80]:  # type: ignore[union-attr]
    raise TypeError("layout.LANE changed: change the struct in lane_state.py with it")


@dataclass(frozen=True, slots=True)
class Lane:
    """A registered lane as it stands; fields as in layout.LANE."""

    tip: bytes
    key: bytes
    account: int
    registration: int
    sequence: int
    expires_ms: int
    permissions: int


def read_lane(memory: Memory, lane: int) -> Lane | None:
    """The lane's record, or None when no key is registered there."""
    if not 0 < lane < layout.LANES:
        return None
    found = Lane(*_LANE.unpack_from(memory.array.data, _LANES + lane * _LANE_BYTES))
    return found if found.registration else None


def read_lane_tip(memory: Memory, lane: int) -> bytes:
    """The 32 bytes of a lane's tip; `lane` is in range."""
    address = _LANES + lane * _LANE_BYTES
    return memory.array[address : address + 32].tobytes()


def read_owner(memory: Memory, account: int) -> tuple[bytes, int] | None:
    """(owner address, owner nonce) of an account in use, or None."""
    count = int.from_bytes(memory.read(_ACCOUNT_COUNT, 4), "little")
    if not 0 <= account < count:
        return None
    address = _ACCOUNTS + account * _ACCOUNT_BYTES
    owner = memory.read(address + _OWNER, 20)
    return owner, int.from_bytes(memory.read(address + _NONCE, 8), "little")
