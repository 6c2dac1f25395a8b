"""The records of layout.py by reference, for kernel functions and for hosts that only read.

Every kernel function takes `memory`, the native address at which machine address 0 appears: the
base of the mapping natively, 0 in the image.  A record at machine address A is `f(memory + A)`.
Fields of records inside a record (`durable_at(...).account[7].cash`) are by reference as well.
"""

from typing import Final

import numpy as np

from entresol.kernel import layout
from entresol.kernel.subset import record_at

durable_at = record_at(layout.DURABLE)
"""`durable_at(memory + DURABLE_BASE)`: the durable half of the state."""

volatile_at = record_at(layout.VOLATILE)
"""`volatile_at(memory + VOLATILE_BASE)`: the books."""

params_at = record_at(layout.PARAMS)
journal_at = record_at(layout.JOURNAL)
block_header_at = record_at(layout.BLOCK_HEADER)
message_header_at = record_at(layout.MESSAGE_HEADER)
operation_at = record_at(layout.OPERATION)
owner_operation_at = record_at(layout.OWNER_OPERATION)
inbox_item_at = record_at(layout.INBOX_ITEM)
event_at = record_at(layout.EVENT)
lane_at = record_at(layout.LANE)
account_at = record_at(layout.ACCOUNT)
run_at = record_at(layout.RUN)
touched_lane_at = record_at(layout.TOUCHED_LANE)


def field_address(base: int, dtype: np.dtype, *names: str) -> int:
    """Machine address of a field of the record at machine address `base`, at import time."""
    address, record = base, dtype
    for name in names:
        fields = record.fields
        assert fields is not None
        address += fields[name][1]
        record = fields[name][0].base
    return address


ACCOUNTS_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.DURABLE, "account")
LANES_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.DURABLE, "lane")
DOMAIN_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.HEADER, "domain")

_REGIONS: Final = {
    "durable": (layout.DURABLE_BASE, layout.DURABLE),
    "volatile": (layout.VOLATILE_BASE, layout.VOLATILE),
    "params": (layout.PARAMS_BASE, layout.PARAMS),
    "journal": (layout.JOURNAL_BASE, layout.JOURNAL),
}


def view(memory_array: np.ndarray, name: str) -> np.void:
    """One region of the address space as a record, for hosts.

    `memory_array` is the whole address space as uint8 (machine address = index); `name` is
    durable, volatile, params or journal.  Hosts read through it and never write state.
    """
    base, dtype = _REGIONS[name]
    record: np.void = memory_array[base : base + dtype.itemsize].view(dtype)[0]
    return record


def durable(memory_array: np.ndarray) -> np.void:
    """The durable half of the state in `memory_array` (the address space as uint8)."""
    return view(memory_array, "durable")


def volatile(memory_array: np.ndarray) -> np.void:
    """The volatile half of the state in `memory_array` (the address space as uint8)."""
    return view(memory_array, "volatile")
