"""Accounts as traders see them: equity and margin, positions, open orders."""

from dataclasses import dataclass
from typing import Any, Final

from entresol.kernel import layout, margin, views
from entresol.machine.memory import Memory
from entresol.sequencing.lane_state import read_lane

_SLOT_WORDS: Final = layout.SLOTS // 64


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds and has resting in one instrument, in lots."""

    instrument: int
    quantity: int
    open_buy: int
    open_sell: int


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """A resting order: lots, absolute ticks."""

    account: int
    slot: int
    instrument: int
    side: int
    flags: int
    price: int
    quantity: int
    remaining: int
    label: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Money of an account, in micro-collateral."""

    account: int
    owner: bytes
    owner_nonce: int
    subaccount: int
    cash: int
    equity: int
    initial_margin: int
    maintenance_margin: int
    withdrawable: int
    order_count: int
    lanes: int


class AccountReader:
    """Reads accounts of the live state; only on the sequencer's loop."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._durable: Any = views.durable(memory.array)
        self._volatile: Any = views.volatile(memory.array)

    def exists(self, account: int) -> bool:
        """Whether the account was ever opened."""
        return 0 <= account < int(self._durable["header"]["account_count"])

    def is_lane_of(self, lane: int, account: int) -> bool:
        """Whether a lane is registered for the account."""
        found = read_lane(self._memory, lane)
        return found is not None and found.account == account

    def summary(self, account: int) -> Summary:
        """Equity and requirements by the kernel's own margin functions."""
        record = self._durable["account"][account]
        base = self._memory.base
        return Summary(
            account=account,
            owner=record["owner"].tobytes(),
            owner_nonce=int(record["owner_nonce"]),
            subaccount=int(record["subaccount"]),
            cash=int(record["cash"]),
            equity=int(margin.margin_balance(base, account)),
            initial_margin=int(margin.initial_requirement(base, account)),
            maintenance_margin=int(margin.maintenance_requirement(base, account)),
            withdrawable=max(int(margin.withdrawable(base, account)), 0),
            order_count=int(record["order_count"]),
            lanes=int(record["lane_count"]),
        )

    def positions(self, account: int) -> list[Position]:
        """Holdings and resting quantities, in the order of the account's table."""
        count = int(self._durable["account"][account]["position_count"])
        return [
            Position(
                int(record["instrument"]),
                int(record["quantity"]),
                int(record["open_buy"]),
                int(record["open_sell"]),
            )
            for record in self._durable["position"][account][:count]
        ]

    def order(self, account: int, slot: int) -> OpenOrder | None:
        """The live order in a slot, or None."""
        record = self._volatile["order"][account * layout.SLOTS + slot]
        if not int(record["remaining"]):
            return None
        instrument = int(record["instrument"])
        return OpenOrder(
            account=account,
            slot=slot,
            instrument=instrument,
            side=int(record["side"]),
            flags=int(record["flags"]),
            price=int(record["tick"]) + int(self._durable["instrument"][instrument]["base_tick"]),
            quantity=int(record["quantity"]),
            remaining=int(record["remaining"]),
            label=int(record["label"]),
        )

    def open_orders(self, account: int) -> list[OpenOrder]:
        """Every live order of an account, by slot."""
        found = []
        for word in range(_SLOT_WORDS):
            bits = int(self._volatile["slot_used"][account][word])
            while bits:
                slot = word * 64 + (bits & -bits).bit_length() - 1
                bits &= bits - 1
                order = self.order(account, slot)
                if order is not None:
                    found.append(order)
        return found
