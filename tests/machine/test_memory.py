"""The address space: sparse, bounded, comparable."""

import numpy as np
import pytest

from entresol.kernel import layout
from entresol.machine.memory import PAGE_BYTES, Memory, MemoryRangeError, difference

TOP = 1 << layout.ADDRESS_BITS


def test_new_memory_is_zero_and_writes_are_read_back() -> None:
    memory = Memory()
    assert memory.read(layout.STATE_BASE, 16) == bytes(16)
    memory.write(TOP - 3, b"abc")
    assert memory.read(TOP - 4, 4) == b"\0abc"
    memory.write(0, b"z")
    assert memory.array[0] == ord("z")


@pytest.mark.parametrize(
    ("address", "length"), [(TOP - 1, 2), (TOP, 1), (-1, 1), (0, -1), (0, TOP + 1)]
)
def test_access_beyond_the_mapping_raises(address: int, length: int) -> None:
    memory = Memory()
    with pytest.raises(MemoryRangeError):
        memory.read(address, length)
    with pytest.raises(MemoryRangeError):
        memory.view(address, "u1", length)
    if 0 < length < 10:
        with pytest.raises(MemoryRangeError):
            memory.write(address, bytes(length))


def test_view_is_the_memory_itself() -> None:
    memory = Memory()
    header = memory.view(layout.DURABLE_BASE, layout.HEADER)
    header["next_block"] = 7
    offset = layout.HEADER.fields["next_block"][1]
    assert memory.read(layout.DURABLE_BASE + offset, 8) == (7).to_bytes(8, "little")
    words = memory.view(layout.SCRATCH_BASE, "<u4", 3)
    words[:] = [1, 2, 3]
    assert memory.read(layout.SCRATCH_BASE, 12) == np.array([1, 2, 3], "<u4").tobytes()


def test_view_outlives_its_memory() -> None:
    view = Memory().view(layout.SCRATCH_BASE, "<u8", 4)
    view[:] = 5
    assert view.tolist() == [5, 5, 5, 5]


def test_resident_pages_name_every_written_page_and_clear_gives_them_back() -> None:
    memory = Memory()
    assert len(memory.resident_pages()) == 0
    addresses = [layout.PARAMS_BASE, layout.STATE_BASE + 5 * PAGE_BYTES + 8, TOP - 1]
    for address in addresses:
        memory.write(address, b"\1")
    expected = [address // PAGE_BYTES * PAGE_BYTES for address in addresses]
    assert memory.resident_pages().tolist() == expected
    assert memory.resident_pages("STATE").tolist() == expected[1:]
    memory.clear("STATE")
    assert memory.resident_pages().tolist() == expected[:1]
    assert memory.read(TOP - 1, 1) == b"\0"


def test_copy_and_difference() -> None:
    first, second = Memory(), Memory()
    first.write(layout.STATE_BASE + 100, b"same")
    first.write(layout.VOLATILE_BASE + 3 * PAGE_BYTES, b"far")
    second.write(layout.STATE_BASE + 9 * PAGE_BYTES, b"stale")
    second.write(layout.SCRATCH_BASE, b"kept")
    found = difference(first, second, ["STATE"], limit=6)
    assert found == [
        *range(layout.STATE_BASE + 100, layout.STATE_BASE + 104),
        *range(layout.STATE_BASE + 9 * PAGE_BYTES, layout.STATE_BASE + 9 * PAGE_BYTES + 2),
    ]
    second.copy_state_from(first)
    assert difference(first, second, ["STATE"]) == []
    assert difference(first, second, layout.REGIONS) == [
        layout.SCRATCH_BASE + offset for offset in range(4)
    ]
    assert second.read(layout.VOLATILE_BASE + 3 * PAGE_BYTES, 3) == b"far"
    assert len(second.written_pages("STATE")) == 2


def test_two_memories_do_not_share() -> None:
    first, second = Memory(), Memory()
    first.write(layout.STATE_BASE, b"x")
    assert second.read(layout.STATE_BASE, 1) == b"\0"
