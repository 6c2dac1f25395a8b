import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import compile_cache, field, state_hash
from entresol.kernel import layout
from entresol.machine import state_tree
from entresol.machine.memory import Memory
from entresol.machine.state_tree import StateTree, StateTreeError, verify_opening

DEPTH = layout.TREE_DEPTH
LEAVES = 1 << DEPTH


def naive_root(leaves, height, first=0):
    """Root of 2^height leaves from `first`, by recursion; `leaves` are the non-zero ones."""
    inside = {
        index: leaf for index, leaf in leaves.items() if first <= index < first + (1 << height)
    }
    if height == 0:
        return state_hash.hash_leaf_plain(inside.get(first, bytes(32)))
    if not inside:
        return naive_empty(height)
    half = 1 << (height - 1)
    return state_hash.hash_node_plain(
        naive_root(inside, height - 1, first), naive_root(inside, height - 1, first + half)
    )


EMPTY = {0: state_hash.hash_leaf_plain(bytes(32))}


def naive_empty(height):
    if height not in EMPTY:
        below = naive_empty(height - 1)
        EMPTY[height] = state_hash.hash_node_plain(below, below)
    return EMPTY[height]


@pytest.fixture(scope="module")
def memory():
    return Memory()


@pytest.fixture
def machine(memory):
    """Memory, all zero again, and a tree of it."""
    for start in memory.resident_pages():
        memory.array[start : start + 4096] = 0
    return memory, StateTree()


def random_leaves(seed, numbers):
    random = np.random.default_rng(seed)
    return {int(n): random.integers(0, 256, 32, np.uint8).tobytes() for n in numbers}


def write(memory, leaves):
    for number, leaf in leaves.items():
        memory.write(32 * number, leaf)


def test_an_empty_memory(machine):
    _, tree = machine
    assert tree.memory_root == naive_empty(27) == state_tree.EMPTY_ROOTS[27]
    assert tree.durable_root == tree.volatile_root == naive_empty(25)
    assert tree.state_root == state_hash.hash_region_plain(naive_empty(25), naive_empty(25))


leaf_numbers = st.one_of(
    st.integers(0, LEAVES - 1),
    st.sampled_from([0, 1, 2, 3, LEAVES - 1, LEAVES - 2, LEAVES // 2, LEAVES // 2 - 1]),
    st.integers(layout.DURABLE_BASE // 32, layout.DURABLE_BASE // 32 + 40),
)


@given(st.lists(st.lists(leaf_numbers, max_size=4), max_size=3), st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_any_updates_give_the_naive_root(memory, batches, seed):
    for start in memory.resident_pages():
        memory.array[start : start + 4096] = 0
    tree, leaves = StateTree(), {}
    for turn, numbers in enumerate(batches):
        changed = random_leaves(seed + turn, numbers)
        leaves |= changed
        write(memory, changed)
        tree.update(memory.base, np.array(numbers, np.int64))
    live = {number: leaf for number, leaf in leaves.items() if any(leaf)}
    assert tree.memory_root == naive_root(live, DEPTH)
    assert tree.durable_root == naive_root(live, 25, layout.DURABLE_BASE // 32)
    assert tree.volatile_root == naive_root(live, 25, layout.VOLATILE_BASE // 32)
    for number in leaves:
        opening = tree.open(memory.base, 32 * number + number % 32)
        assert opening.leaf == leaves[number]
        assert verify_opening(tree.memory_root, opening)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 1000])
def test_dense_and_sparse_updates_equal_region_roots(machine, count):
    memory, tree = machine
    data = np.random.default_rng(count).integers(0, 256, 32 * count, np.uint8).tobytes()
    memory.write(layout.CODE_BASE, data)
    tree.update_range(memory.base, layout.CODE_BASE, len(data))
    expected = state_tree.root_of_region(data, layout.CODE_BASE, layout.CODE_BYTES)
    assert tree.region_root(layout.CODE_BASE, layout.CODE_BYTES) == expected


def test_order_and_repeats_of_dirty_leaves_do_not_matter(machine):
    memory, tree = machine
    numbers = np.random.default_rng(5).integers(0, 1 << 20, 500)
    write(memory, random_leaves(5, numbers))
    tree.update(memory.base, numbers)
    for variant in (np.sort(numbers), np.concatenate((numbers, numbers[::-1])),
                    np.unique(numbers).astype(np.uint32)):  # fmt: skip
        other = StateTree()
        other.update(memory.base, variant)
        assert other.memory_root == tree.memory_root


def test_updating_in_many_steps_equals_updating_at_once(machine):
    memory, tree = machine
    random = np.random.default_rng(6)
    everything = []
    for step in range(12):
        numbers = layout.STATE_BASE // 32 + random.integers(0, 1 << 14, 200)
        write(memory, random_leaves(step, numbers))
        tree.update(memory.base, numbers)
        everything.append(numbers)
    once = StateTree()
    once.update(memory.base, np.concatenate(everything))
    assert once.state_root == tree.state_root
    assert once.memory_root == tree.memory_root


def test_clearing_memory_brings_the_empty_root_back(machine):
    memory, tree = machine
    numbers = np.arange(100) * 977
    write(memory, random_leaves(7, numbers))
    tree.update(memory.base, numbers)
    assert tree.memory_root != state_tree.EMPTY_ROOTS[27]
    write(memory, dict.fromkeys(numbers.tolist(), bytes(32)))
    tree.update(memory.base, numbers)
    assert tree.memory_root == state_tree.EMPTY_ROOTS[27]


def test_clean_leaves_may_be_listed(machine):
    memory, tree = machine
    write(memory, random_leaves(8, range(64)))
    tree.update(memory.base, np.arange(64))
    root = tree.memory_root
    tree.update(memory.base, np.arange(0, 4096))
    tree.update(memory.base, np.zeros(0, np.int64))
    assert tree.memory_root == root


def test_pages(machine):
    memory, tree = machine
    write(memory, random_leaves(9, [3, 129, 130, 100_000]))
    tree.update_pages(memory.base, memory.written_pages(), 4096)
    other = StateTree()
    other.update(memory.base, np.array([3, 129, 130, 100_000]))
    assert tree.memory_root == other.memory_root


def test_one_region_does_not_change_the_other(machine):
    memory, tree = machine
    durable, volatile, state = tree.durable_root, tree.volatile_root, tree.state_root
    memory.write(layout.VOLATILE_BASE, b"book")
    tree.update_range(memory.base, layout.VOLATILE_BASE, 4)
    assert tree.durable_root == durable
    assert tree.volatile_root != volatile
    assert tree.state_root != state
    after = tree.state_root
    memory.write(layout.SCRATCH_BASE, b"scratch")
    tree.update_range(memory.base, layout.SCRATCH_BASE, 7)
    assert tree.state_root == after


def test_openings_of_a_subtree(machine):
    memory, tree = machine
    address = layout.DURABLE_BASE + 0x1234_20
    memory.write(address, b"account")
    tree.update_range(memory.base, address, 7)
    opening = tree.open(memory.base, address + 3, 25)
    assert len(opening.siblings) == 25
    assert verify_opening(tree.durable_root, opening, 25)
    assert not verify_opening(tree.volatile_root, opening, 25)
    assert not verify_opening(tree.durable_root, opening)
    alone = tree.open(memory.base, address, 0)
    assert verify_opening(state_hash.hash_leaf(alone.leaf), alone, 0)


def test_a_changed_opening_does_not_verify(machine):
    memory, tree = machine
    numbers = [layout.STATE_BASE // 32 + n for n in (0, 1, 5, 900)]
    write(memory, random_leaves(10, numbers))
    tree.update(memory.base, np.array(numbers))
    root = tree.memory_root
    opening = tree.open(memory.base, 32 * numbers[1])
    assert verify_opening(root, opening)

    def altered(**changes):
        fields = {name: getattr(opening, name) for name in ("address", "leaf", "siblings")}
        return state_tree.Opening(**(fields | changes))

    siblings = opening.siblings
    for level in range(DEPTH):
        word = (int.from_bytes(siblings[level], "big") ^ 1).to_bytes(32, "big")
        assert not verify_opening(
            root, altered(siblings=(*siblings[:level], word, *siblings[level + 1 :]))
        )
    assert not verify_opening(root, altered(address=opening.address ^ 32))
    assert not verify_opening(root, altered(address=opening.address + 1))
    assert not verify_opening(root, altered(address=opening.address + (1 << 32)))
    assert not verify_opening(root, altered(address=-32))
    assert not verify_opening(root, altered(leaf=bytes(32)))
    assert not verify_opening(root, altered(leaf=opening.leaf + b"\0"))
    assert not verify_opening(root, altered(siblings=siblings[:-1]))


def test_a_sibling_plus_p_is_refused():
    # A digest with an element small enough that adding p still fits 32 bits.
    sibling = bytes(32)
    same = field.PRIME.to_bytes(4, "big") * 8
    leaf = bytes(32)
    root = state_hash.hash_node(state_hash.hash_leaf(leaf), sibling)
    assert verify_opening(root, state_tree.Opening(0, leaf, (sibling,)), 1)
    assert not verify_opening(root, state_tree.Opening(0, leaf, (same,)), 1)


def test_memory_that_changed_behind_the_tree_is_noticed(machine):
    memory, tree = machine
    memory.write(64, b"x")
    with pytest.raises(StateTreeError, match="changed after the last update"):
        tree.open(memory.base, 64)


def test_wrong_arguments(machine):
    memory, tree = machine
    root = tree.memory_root
    for numbers in ([LEAVES], [-1], [0, LEAVES]):
        with pytest.raises(StateTreeError, match="lie between"):
            tree.update(memory.base, np.array(numbers))
    with pytest.raises(StateTreeError, match="one-dimensional"):
        tree.update(memory.base, np.zeros((2, 2), np.int64))
    with pytest.raises(StateTreeError, match="integers"):
        tree.update(memory.base, np.array([1.5]))
    for address, length in ((-1, 1), (0, -1), (1 << 32, 1)):
        with pytest.raises(StateTreeError):
            tree.update_range(memory.base, address, length)
    for base, size in ((0, 48), (32, 64), (0, 16), (1 << 32, 32), (-64, 64)):
        with pytest.raises(StateTreeError):
            tree.region_root(base, size)
        with pytest.raises(StateTreeError):
            state_tree.root_of_region(b"", base, size)
    with pytest.raises(StateTreeError, match="do not fit"):
        state_tree.root_of_region(bytes(33), 0, 32)
    for address in (-1, 1 << 32):
        with pytest.raises(StateTreeError, match="no address"):
            tree.open(memory.base, address)
    with pytest.raises(StateTreeError, match="height"):
        tree.open(memory.base, 0, 28)
    with pytest.raises(StateTreeError, match="no node"):
        tree.node(27, 1)
    assert tree.memory_root == root


@given(st.binary(max_size=300), st.sampled_from([512, 1024]))
@settings(max_examples=10, deadline=None)
def test_root_of_region_is_the_naive_root(data, size):
    leaves = {i: data[32 * i : 32 * i + 32].ljust(32, b"\0") for i in range(-(-len(data) // 32))}
    height = (size // 32).bit_length() - 1
    assert state_tree.root_of_region(data, 0x4000, size) == naive_root(leaves, height)


def test_the_plain_update_gives_the_same_tree(machine):
    """What runs under NUMBA_DISABLE_JIT, beside the compiled update."""
    if compile_cache.INTERPRETED:
        pytest.skip("there is only the plain update")
    memory, tree = machine
    numbers = np.unique(np.random.default_rng(11).integers(0, LEAVES, 300))
    write(memory, random_leaves(11, numbers))
    tree.update(memory.base, numbers)
    plain = StateTree()
    plain._update_plain(memory.base, numbers)
    assert plain.memory_root == tree.memory_root
    assert np.array_equal(plain._words[LEAVES + numbers], tree._words[LEAVES + numbers])


def test_an_untouched_part_costs_no_memory(machine):
    memory, tree = machine
    write(memory, random_leaves(12, [layout.STATE_BASE // 32]))
    tree.update(memory.base, np.array([layout.STATE_BASE // 32]))
    pages = tree._mapping.resident_pages(0, 2 * LEAVES * 32)
    assert len(pages) <= 2 * (DEPTH + 1)
