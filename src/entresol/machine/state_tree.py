"""The Merkle tree over the machine's memory: 2^27 leaves of 32 bytes, most of them zero.

Nodes lie in one sparse mapping by heap number: the root is 1, the children of n are 2n and 2n + 1,
leaf i is 2^27 + i.  A node's place holds its digest XOR the digest of an all-zero subtree of its
height, so a place that was never written *is* the empty subtree, and only what differs from zero
memory costs anything.  One update hashes level by level, sixteen nodes at a time, over the sorted
numbers of what changed.

DURABLE and VOLATILE are nodes of this tree; the state root binds the two.
"""

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from entresol.crypto import compile_cache, native_memory, state_hash
from entresol.crypto.field import DIGEST_ELEMENTS, DigestError
from entresol.kernel import layout
from entresol.machine.mapping import SparseMapping

LEAVES: Final = 1 << layout.TREE_DEPTH
DIGEST_BYTES: Final = 4 * DIGEST_ELEMENTS

Leaves = npt.NDArray[np.integer[Any]]
"""Leaf numbers: machine address / LEAF_BYTES."""


class StateTreeError(ValueError):
    """A leaf, address or region that the tree does not have, or memory it was not told about."""


def _empty_words() -> npt.NDArray[np.uint32]:
    leaf = np.zeros((1, layout.LEAF_BYTES), np.uint8)
    levels = [state_hash.hash_leaves(leaf)]
    for _ in range(layout.TREE_DEPTH):
        levels.append(state_hash.hash_nodes(np.concatenate((levels[-1], levels[-1]))))
    return np.concatenate(levels)


_EMPTY_WORDS: Final = _empty_words()

EMPTY_ROOTS: Final = tuple(state_hash.words_to_digest(words) for words in _EMPTY_WORDS)
"""EMPTY_ROOTS[h]: digest of an all-zero subtree of height h (2^h leaves)."""

# Each level's empty digest twice, side by side: the mask of a node's two children.
_EMPTY_ROWS: Final = np.ascontiguousarray(np.concatenate((_EMPTY_WORDS, _EMPTY_WORDS), axis=1))


# --- compiled update --------------------------------------------------------------------------


_compiled: Final = compile_cache.native_function_of("crypto", "kernel", "machine")


@_compiled
def _store_digest(place: int, digest: int, mask: int) -> bool:
    """Store digest XOR mask; was something else there before?"""
    changed = False
    for at in range(0, 32, 8):
        word = native_memory.load_u64(digest + at) ^ native_memory.load_u64(mask + at)
        if word != native_memory.load_u64(place + at):
            changed = True
            native_memory.store_u64(place + at, word)
    return changed


@_compiled
def _update_leaves(nodes: int, memory: int, leaves: Any, masks: int) -> int:
    """Hash `leaves` anew; replaces their numbers by the parents' heap numbers, returns how many."""
    rows = state_hash.block_space()
    count, kept = len(leaves), 0
    for start in range(0, count, state_hash.BLOCK):
        size = min(state_hash.BLOCK, count - start)
        for row in range(size):
            native_memory.widen_row(memory + 32 * leaves[start + row], rows + 64 * row)
        state_hash.compress_rows(rows, state_hash.LEAF)
        for row in range(size):
            node = LEAVES + leaves[start + row]
            if _store_digest(nodes + 32 * node, rows + 64 * row, masks):
                if kept == 0 or leaves[kept - 1] != node >> 1:
                    leaves[kept] = node >> 1
                    kept += 1
    return kept


@_compiled
def _update_level(nodes: int, numbers: Any, count: int, masks: int) -> int:
    """Hash `count` nodes of one level anew; `masks` are the rows of the level below and their own.

    Replaces their numbers by those of the parents of the nodes that changed; returns how many.
    """
    rows = state_hash.block_space()
    kept = 0
    for start in range(0, count, state_hash.BLOCK):
        size = min(state_hash.BLOCK, count - start)
        for row in range(size):
            native_memory.xor_row(nodes + 64 * numbers[start + row], masks, rows + 64 * row)
        state_hash.compress_rows(rows, state_hash.NODE)
        for row in range(size):
            node = numbers[start + row]
            if _store_digest(nodes + 32 * node, rows + 64 * row, masks + 64):
                if kept == 0 or numbers[kept - 1] != node >> 1:
                    numbers[kept] = node >> 1
                    kept += 1
    return kept


@_compiled
def _update(nodes: int, memory: int, numbers: Any, masks: int) -> None:
    """Bring the tree up to date after the leaves in `numbers` (ascending, consumed) changed."""
    count = _update_leaves(nodes, memory, numbers, masks)
    for height in range(1, layout.TREE_DEPTH + 1):
        count = _update_level(nodes, numbers, count, masks + 64 * (height - 1))


# --- the tree ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """One leaf with what proves it: the siblings from the leaf upwards."""

    address: int
    """Machine address of the leaf, a multiple of 32."""
    leaf: bytes
    siblings: tuple[bytes, ...]


class StateTree:
    """Digests of a machine's memory, brought up to date leaf by leaf.

    A new tree is that of all-zero memory.  It keeps no bytes of the memory: `update` and `open`
    are given the native address at which machine address 0 appears.  One thread at a time may use
    a tree; `update` lets others run meanwhile.
    """

    def __init__(self) -> None:
        self._mapping = SparseMapping(2 * LEAVES * DIGEST_BYTES)
        self._words = self._mapping.array.view(np.uint32).reshape(2 * LEAVES, DIGEST_ELEMENTS)

    def update(self, memory_base: int, dirty_leaves: Leaves) -> None:
        """Hash the leaves in `dirty_leaves` (any order, repeats allowed) and all above them anew.

        Raises StateTreeError for a number outside the tree; then nothing has changed.
        """
        given = np.asarray(dirty_leaves)
        if given.ndim != 1 or (given.dtype.kind not in "iu" and len(given)):
            raise StateTreeError("Give the dirty leaves as a one-dimensional array of integers.")
        numbers = given.astype(np.int64)  # a copy: the compiled update consumes it
        if len(numbers) == 0:
            return
        if not bool(np.all(numbers[1:] > numbers[:-1])):
            numbers = np.unique(numbers)
        if numbers[0] < 0 or numbers[-1] >= LEAVES:
            raise StateTreeError(f"Leaf numbers lie between 0 and {LEAVES - 1}.")
        if compile_cache.INTERPRETED:
            self._update_plain(memory_base, numbers)
        else:
            _update(self._mapping.base, memory_base, numbers, _EMPTY_ROWS.ctypes.data)

    def update_range(self, memory_base: int, address: int, length: int) -> None:
        """`update` for every leaf that [address, address + length) touches."""
        if address < 0 or length < 0 or address + length > 1 << layout.ADDRESS_BITS:
            raise StateTreeError("Give a range within the 32-bit address space.")
        first, last = address // layout.LEAF_BYTES, -(-(address + length) // layout.LEAF_BYTES)
        if length:
            self.update(memory_base, np.arange(first, last))

    def update_pages(self, memory_base: int, pages: npt.NDArray[np.int64], size: int) -> None:
        """`update` for every leaf of the pages of `size` bytes at these machine addresses."""
        within = np.arange(size // layout.LEAF_BYTES)
        first = np.asarray(pages, np.int64) // layout.LEAF_BYTES
        self.update(memory_base, (first[:, None] + within[None, :]).reshape(-1))

    def _update_plain(self, memory_base: int, numbers: npt.NDArray[np.int64]) -> None:
        address = memory_base + layout.LEAF_BYTES * numbers
        raw = b"".join(ctypes.string_at(int(at), layout.LEAF_BYTES) for at in address)
        digests = state_hash.hash_leaves(np.frombuffer(raw, np.uint8).reshape(-1, 32))
        self._words[LEAVES + numbers] = digests ^ _EMPTY_WORDS[0]
        nodes = LEAVES + numbers
        for height in range(1, layout.TREE_DEPTH + 1):
            nodes = np.unique(nodes >> 1)
            below = np.stack((2 * nodes, 2 * nodes + 1), axis=1).reshape(-1)
            children = self._words[below] ^ _EMPTY_WORDS[height - 1]
            self._words[nodes] = state_hash.hash_nodes(children) ^ _EMPTY_WORDS[height]

    def node(self, height: int, index: int) -> bytes:
        """Digest of the subtree of 2^height leaves number `index` of that size."""
        if not 0 <= height <= layout.TREE_DEPTH or not 0 <= index < LEAVES >> height:
            raise StateTreeError(f"The tree has no node {index} at height {height}.")
        number = (LEAVES >> height) + index
        return state_hash.words_to_digest(self._words[number] ^ _EMPTY_WORDS[height])

    def region_root(self, base: int, size: int) -> bytes:
        """Root of the aligned region of `size` bytes (a power of two) at machine address `base`."""
        height = _region_height(base, size)
        return self.node(height, base // size)

    @property
    def durable_root(self) -> bytes:
        """Root of the DURABLE half of the state."""
        return self.region_root(layout.DURABLE_BASE, layout.DURABLE_BYTES)

    @property
    def volatile_root(self) -> bytes:
        """Root of the VOLATILE half of the state."""
        return self.region_root(layout.VOLATILE_BASE, layout.VOLATILE_BYTES)

    @property
    def state_root(self) -> bytes:
        """hash_region(durable root, volatile root): what a claim commits to."""
        return state_hash.hash_region(self.durable_root, self.volatile_root)

    @property
    def memory_root(self) -> bytes:
        """Root of the whole address space."""
        return self.node(layout.TREE_DEPTH, 0)

    def open(self, memory_base: int, address: int, height: int = layout.TREE_DEPTH) -> Opening:
        """Proof of the leaf that contains `address`, up to its subtree of 2^height leaves.

        Raises StateTreeError if the leaf's bytes are not those of the last update.
        """
        if not 0 <= address < 1 << layout.ADDRESS_BITS:
            raise StateTreeError(f"{address:#x} is no address of the machine.")
        if not 0 <= height <= layout.TREE_DEPTH:
            raise StateTreeError(f"A subtree's height lies between 0 and {layout.TREE_DEPTH}.")
        index = address // layout.LEAF_BYTES
        leaf = ctypes.string_at(memory_base + layout.LEAF_BYTES * index, layout.LEAF_BYTES)
        if state_hash.hash_leaf(leaf) != self.node(0, index):
            raise StateTreeError(f"The leaf at {address:#x} changed after the last update.")
        siblings = tuple(self.node(level, (index >> level) ^ 1) for level in range(height))
        return Opening(layout.LEAF_BYTES * index, leaf, siblings)


def verify_opening(root: bytes, opening: Opening, height: int = layout.TREE_DEPTH) -> bool:
    """Does `opening` prove its leaf under `root`, the root of 2^height leaves that contain it?

    With the default height `root` is a memory root.  Malformed input is False.
    """
    address = opening.address
    if len(opening.siblings) != height or len(opening.leaf) != layout.LEAF_BYTES:
        return False
    if address % layout.LEAF_BYTES or not 0 <= address < 1 << layout.ADDRESS_BITS:
        return False
    index = address // layout.LEAF_BYTES
    digest = state_hash.hash_leaf(opening.leaf)
    try:
        for level, sibling in enumerate(opening.siblings):
            pair = (sibling, digest) if index >> level & 1 else (digest, sibling)
            digest = state_hash.hash_node(*pair)
    except DigestError:
        return False
    return digest == root


def _region_height(base: int, size: int) -> int:
    if size < layout.LEAF_BYTES or size & (size - 1) or size > 1 << layout.ADDRESS_BITS:
        raise StateTreeError("A region's size is a power of two of at least one leaf.")
    if base % size or not 0 <= base <= (1 << layout.ADDRESS_BITS) - size:
        raise StateTreeError("A region starts at a multiple of its size within the address space.")
    return (size // layout.LEAF_BYTES).bit_length() - 1


def root_of_region(data: bytes, base: int, size: int) -> bytes:
    """Root of the aligned region of `size` bytes at `base` that starts with `data`, then zeros.

    What `StateTree.region_root` would say of a memory holding it; used for the program id.
    """
    height = _region_height(base, size)
    if len(data) > size:
        raise StateTreeError(f"{len(data)} bytes do not fit a region of {size}.")
    padded = data + bytes(-len(data) % layout.LEAF_BYTES)
    level = state_hash.hash_leaves(np.frombuffer(padded, np.uint8).reshape(-1, layout.LEAF_BYTES))
    if len(level) == 0:
        return EMPTY_ROOTS[height]
    for below in range(height):
        if len(level) % 2:
            level = np.concatenate((level, _EMPTY_WORDS[below : below + 1]))
        level = state_hash.hash_nodes(level)
    return state_hash.words_to_digest(level)
