"""Running data records: both ways the same, input in its place, faults and differences named."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entresol.kernel import layout
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.kernel.rejections import Fault, Invalid
from entresol.machine import assembly, execute
from entresol.machine.image import Image, image_of, load_kernel_image
from entresol.machine.memory import Memory

pytestmark = pytest.mark.timeout(900)

CONFIGURATION = GenesisConfiguration(
    chain_id=31337,
    rollup=bytes(19) + b"\1",
    token=bytes(19) + b"\2",
    operator=bytes(19) + b"\3",
    publisher=bytes(19) + b"\4",
)


@pytest.fixture(scope="module")
def kernel_image() -> Image:
    return load_kernel_image()


def genesis() -> Memory:
    memory = Memory()
    build_genesis(memory.base, CONFIGURATION)
    return memory


def parameters(data_bytes: int, **fields: int) -> bytes:
    params = np.zeros((), layout.PARAMS)
    params["domain"] = np.frombuffer(CONFIGURATION.domain, "<u8")
    params["data_bytes"] = data_bytes
    for name, value in fields.items():
        params[name] = value
    return params.tobytes()


def program(words: list[int]) -> Image:
    return image_of(assembly.to_bytes(words))


def test_prepare_puts_input_in_place_and_clears_the_rest() -> None:
    memory = Memory()
    for base, size, _ in layout.REGIONS.values():
        memory.write(base + size - 8, b"leftover")
    execute.prepare(memory, b"params", b"data", b"items")
    assert memory.read(layout.PARAMS_BASE, 8) == b"params\0\0"
    assert memory.read(layout.BATCH_DATA_BASE, 8) == b"data\0\0\0\0"
    assert memory.read(layout.INBOX_ITEMS_BASE, 8) == b"items\0\0\0"
    for region in ("PARAMS", "JOURNAL", "SCRATCH", "INPUT"):
        base, size, _ = layout.REGIONS[region]
        assert memory.read(base + size - 8, 8) == bytes(8)
    assert memory.read((1 << 32) - 8, 8) == b"leftover"


@pytest.mark.parametrize("name", ["params", "data", "inbox_items"])
def test_input_that_does_not_fit_is_refused(name: str) -> None:
    parts = {"params": b"", "data": b"", "inbox_items": b""}
    parts[name] = bytes((1 << 20) + 1)
    with pytest.raises(execute.InputTooLargeError):
        execute.prepare(Memory(), **parts)


def test_a_faulting_image_raises() -> None:
    with pytest.raises(execute.MachineFaultError, match="UNKNOWN_INSTRUCTION") as caught:
        execute.run_batch(Memory(), program([assembly.addi(5, 0, 1), 0]), b"", b"", b"")
    assert caught.value.halt.reason == Fault.UNKNOWN_INSTRUCTION
    endless = program([0x6F])
    with pytest.raises(execute.MachineFaultError, match="STEP_LIMIT"):
        execute.run_batch(Memory(), endless, b"", b"", b"", limit=100)


def test_another_image_replaces_all_of_code() -> None:
    memory = Memory()
    memory.write(layout.CODE_BASE + 4096, b"old")
    halt = [assembly.addi(10, 0, 9), assembly.addi(17, 0, 0), assembly.ECALL]
    run = execute.run_batch(memory, program(halt), b"", b"", b"")
    assert (run.exit_code, run.instructions) == (9, 3)
    assert memory.read(layout.CODE_BASE + 4096, 3) == bytes(3)
    assert run.dirty_leaves is not None
    assert run.dirty_leaves.tolist() == []


def test_divergence_is_found() -> None:
    """An image that answers like the kernel but writes one byte of its own."""
    status = int(Invalid.BAD_PARAMS)
    halt = [assembly.addi(10, 0, status), assembly.addi(17, 0, 0), assembly.ECALL]
    other = [*halt[:1], assembly.addi(10, 10, 1), *halt[1:]]
    slli_31, store_byte = 0x01F2_9293, 0x0112_8023  # slli t0, t0, 31; sb a7, 0(t0)
    changed = [assembly.addi(5, 0, 1), slli_31, assembly.addi(17, 0, 5), store_byte, *halt]
    with pytest.raises(execute.DivergenceError, match="ended with"):
        execute.compare(genesis(), program(other), b"", b"", b"")
    with pytest.raises(execute.DivergenceError, match="0x80000000"):
        execute.compare(genesis(), program(changed), b"", b"", b"")


def test_empty_record(kernel_image: Image) -> None:
    run = execute.compare(genesis(), kernel_image, parameters(0), b"", b"")
    assert run.exit_code != 0
    run = execute.compare(genesis(), kernel_image, b"", b"", b"")
    assert run.exit_code == Invalid.BAD_PARAMS


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.one_of(
        st.binary(max_size=600), st.binary(min_size=1, max_size=4).map(lambda b: b * 300)
    ),
    items=st.binary(max_size=512),
    claimed=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    inbox=st.tuples(st.integers(0, 9000), st.integers(0, 9000)),
)
def test_any_input_ends_the_same_way(
    kernel_image: Image,
    data: bytes,
    items: bytes,
    claimed: int | None,
    inbox: tuple[int, int],
) -> None:
    length = len(data) if claimed is None else claimed
    params = parameters(length, inbox_first=inbox[0], inbox_count=inbox[1], l1_time=1000)
    run = execute.compare(genesis(), kernel_image, params, data, items)
    assert run.exit_code != 0


def test_dirty_leaves_are_exactly_where_state_changed(kernel_image: Image) -> None:
    """Every byte that changed lies in a leaf that the run reports."""
    before, after = genesis(), genesis()
    params = parameters(64, l1_time=1000)
    run = execute.run_batch(after, kernel_image, params, bytes(range(64)), b"")
    assert run.dirty_leaves is not None
    dirty = set(run.dirty_leaves.tolist())
    for page in np.union1d(before.resident_pages("STATE"), after.resident_pages("STATE")):
        unequal = np.flatnonzero(
            before.array[page : page + 4096] != after.array[page : page + 4096]
        )
        assert {(int(page) + int(offset)) // 32 for offset in unequal} <= dirty
