"""Positions: an account's holdings and open orders per instrument, packed without holes.

`position_slot[account, instrument]` finds one in a single load; the account's records 0 to
position_count - 1 are in use, so margin walks exactly those.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.subset import i64, kernel_function, load_i64, store_i64
from entresol.kernel.views import field_address

NO_POSITION: Final = -1

POSITIONS_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.DURABLE, "position")
_BYTES: Final = layout.POSITION.itemsize
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1


@kernel_function
def find_position(durable: Any, account: int, instrument: int) -> int:
    """Index of the account's position in an instrument, or NO_POSITION."""
    slot = durable.position_slot[account & _ACCOUNT_MASK, instrument & _INSTRUMENT_MASK]
    return i64(slot) - 1


@kernel_function
def open_position(durable: Any, account: int, instrument: int) -> int:
    """Index of the position in `instrument`, opened empty when the account has none.

    The caller checked that the account has fewer than POSITIONS of them.
    """
    index = find_position(durable, account, instrument)
    if index >= 0:
        return index
    holder = durable.account[account & _ACCOUNT_MASK]
    index = i64(holder.position_count)
    holder.position_count = index + 1
    durable.position_slot[account & _ACCOUNT_MASK, instrument & _INSTRUMENT_MASK] = index + 1
    durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK].instrument = instrument
    header = durable.header
    header.open_position_count = i64(header.open_position_count) + 1
    return index


@kernel_function
def _position_address(memory: int, account: int, index: int) -> int:
    number = (account & _ACCOUNT_MASK) * layout.POSITIONS + (index & _POSITION_MASK)
    return memory + POSITIONS_ADDRESS + number * _BYTES


@kernel_function
def release_if_empty(memory: int, durable: Any, account: int, index: int) -> None:
    """Give back a position with no quantity and no orders; the last one moves into its place."""
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    if i64(position.quantity) != 0 or i64(position.order_count) != 0:
        return
    instrument = i64(position.instrument)
    holder = durable.account[account & _ACCOUNT_MASK]
    last = i64(holder.position_count) - 1
    holder.position_count = last
    header = durable.header
    header.open_position_count = i64(header.open_position_count) - 1
    durable.position_slot[account & _ACCOUNT_MASK, instrument & _INSTRUMENT_MASK] = 0
    source = _position_address(memory, account, last)
    if last != index:
        moved = i64(durable.position[account & _ACCOUNT_MASK, last & _POSITION_MASK].instrument)
        durable.position_slot[account & _ACCOUNT_MASK, moved & _INSTRUMENT_MASK] = index + 1
        target = _position_address(memory, account, index)
        for offset in range(0, _BYTES, 8):
            store_i64(target + offset, load_i64(source + offset))
    for offset in range(0, _BYTES, 8):
        store_i64(source + offset, i64(0))


@kernel_function
def add_open(position: Any, side: int, lots: int, reserve: int) -> None:
    """Count `lots` (negative to take away) of open orders and what they hold in reserve."""
    if side == layout.BUY:
        position.open_buy = i64(position.open_buy) + lots
    else:
        position.open_sell = i64(position.open_sell) + lots
    position.open_reserve = i64(position.open_reserve) + reserve


@kernel_function
def closable_lots(quantity: int, side: int) -> int:
    """Lots that an order on `side` can fill before it would increase a position of `quantity`."""
    closable = -quantity if side == layout.BUY else quantity
    return closable if closable > 0 else i64(0)
