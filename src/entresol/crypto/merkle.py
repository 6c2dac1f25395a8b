"""Keccak Merkle trees: the append-only withdrawals tree and roots of fixed lists.

A node is keccak256(left || right), an empty leaf is 32 zero bytes, and index bit h chooses the
side at height h.  The kernel and the L1 contracts compute the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from entresol.crypto.keccak import keccak256

MAXIMUM_DEPTH: Final = 64
WITHDRAWAL_DEPTH: Final = 32
"""Depth of the withdrawals tree (the kernel's layout.WITHDRAWAL_DEPTH)."""

EMPTY_LEAF: Final = bytes(32)


class MerkleError(ValueError):
    """A leaf, index or depth that no tree of the stated shape has."""


def _empty_roots() -> tuple[bytes, ...]:
    roots = [EMPTY_LEAF]
    for _ in range(MAXIMUM_DEPTH):
        roots.append(keccak256(roots[-1] + roots[-1]))
    return tuple(roots)


EMPTY_ROOTS: Final = _empty_roots()
"""EMPTY_ROOTS[h]: root of an all-empty subtree of height h."""


def hash_node(left: bytes, right: bytes) -> bytes:
    """keccak256(left || right) of two 32-byte hashes."""
    return keccak256(left + right)


def _check_leaf(leaf: bytes) -> None:
    if len(leaf) != 32:
        raise MerkleError(f"A leaf has 32 bytes, not {len(leaf)}; hash longer data first.")


def _check_depth(depth: int) -> None:
    if not 0 <= depth <= MAXIMUM_DEPTH:
        raise MerkleError(f"A depth lies between 0 and {MAXIMUM_DEPTH}, not at {depth}.")


# --- fixed lists ------------------------------------------------------------------------------


def depth_for(count: int) -> int:
    """Least depth of a tree with room for `count` leaves."""
    return max(count - 1, 0).bit_length()


def _layers(leaves: Sequence[bytes], depth: int) -> list[list[bytes]]:
    """Non-empty prefixes of every level, leaves first; level h has at most one node more."""
    _check_depth(depth)
    if len(leaves) > 1 << depth:
        raise MerkleError(f"{len(leaves)} leaves do not fit a tree of depth {depth}.")
    for leaf in leaves:
        _check_leaf(leaf)
    layers = [list(leaves)]
    for height in range(depth):
        below = layers[-1]
        if len(below) % 2:
            below = [*below, EMPTY_ROOTS[height]]
        layers.append([keccak256(below[at] + below[at + 1]) for at in range(0, len(below), 2)])
    return layers


def merkle_root(leaves: Sequence[bytes], depth: int | None = None) -> bytes:
    """Root of `leaves` padded with empty leaves to 2^depth (the least depth by default)."""
    depth = depth_for(len(leaves)) if depth is None else depth
    top = _layers(leaves, depth)[-1]
    return top[0] if top else EMPTY_ROOTS[depth]


def merkle_proof(leaves: Sequence[bytes], index: int, depth: int | None = None) -> list[bytes]:
    """Siblings of leaf `index` from the leaf upwards, for the tree of `merkle_root`."""
    depth = depth_for(len(leaves)) if depth is None else depth
    layers = _layers(leaves, depth)
    if not 0 <= index < 1 << depth:
        raise MerkleError(f"A tree of depth {depth} has no leaf {index}.")
    proof = []
    for height in range(depth):
        sibling = (index >> height) ^ 1
        layer = layers[height]
        proof.append(layer[sibling] if sibling < len(layer) else EMPTY_ROOTS[height])
    return proof


def root_from_proof(leaf: bytes, index: int, proof: Sequence[bytes]) -> bytes:
    """The root that `proof` leads to from `leaf` at `index`; the depth is the proof's length."""
    _check_leaf(leaf)
    if not 0 <= index < 1 << len(proof):
        raise MerkleError(f"A tree of depth {len(proof)} has no leaf {index}.")
    node = leaf
    for height, sibling in enumerate(proof):
        _check_leaf(sibling)
        node = keccak256(sibling + node if index >> height & 1 else node + sibling)
    return node


def verify(
    root: bytes, leaf: bytes, index: int, proof: Sequence[bytes], depth: int = WITHDRAWAL_DEPTH
) -> bool:
    """Is `leaf` at `index` under `root` in a tree of exactly `depth`? Malformed input is False."""
    if len(proof) != depth:
        return False
    try:
        return root_from_proof(leaf, index, proof) == root
    except MerkleError:
        return False


# --- the append-only tree ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frontier:
    """What appending needs: for every set bit h of `count`, the root of that full subtree.

    `branch[h]` is meaningful only while bit h of `count` is set; stale entries may stay, as in
    the kernel's header and the L1 contracts.
    """

    count: int
    branch: tuple[bytes, ...]


EMPTY_FRONTIER: Final = Frontier(0, (EMPTY_LEAF,) * WITHDRAWAL_DEPTH)


def append(frontier: Frontier, leaf: bytes) -> Frontier:
    """The frontier after `leaf`; raises MerkleError when the tree is full."""
    _check_leaf(leaf)
    depth, count = len(frontier.branch), frontier.count
    if count >= (1 << depth) - 1:
        # One slot stays empty, so that the count's bits always name the frontier.
        raise MerkleError(f"An append-only tree of depth {depth} holds 2^{depth} - 1 leaves.")
    branch, node, height = list(frontier.branch), leaf, 0
    while count >> height & 1:
        node = keccak256(branch[height] + node)
        height += 1
    branch[height] = node
    return Frontier(count + 1, tuple(branch))


def frontier_root(frontier: Frontier) -> bytes:
    """Root of the whole tree, all later leaves empty."""
    node = EMPTY_LEAF
    for height, left in enumerate(frontier.branch):
        if frontier.count >> height & 1:
            node = keccak256(left + node)
        else:
            node = keccak256(node + EMPTY_ROOTS[height])
    return node


class AppendOnlyTree:
    """All leaves of an append-only tree, kept so that any of them can be proven.

    Appending costs one hash on average, the root and a proof O(depth).
    """

    def __init__(self, depth: int = WITHDRAWAL_DEPTH) -> None:
        _check_depth(depth)
        self.depth = depth
        # Complete nodes only: _full[h][i] covers leaves [i << h, (i + 1) << h).
        self._full: list[list[bytes]] = [[] for _ in range(depth)]

    @property
    def count(self) -> int:
        """Leaves appended."""
        return len(self._full[0]) if self._full else 0

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """Every leaf, in order."""
        return tuple(self._full[0]) if self._full else ()

    def append(self, leaf: bytes) -> int:
        """Append `leaf` and return its index; raises MerkleError when the tree is full."""
        _check_leaf(leaf)
        index = self.count
        if index >= (1 << self.depth) - 1:
            raise MerkleError(
                f"An append-only tree of depth {self.depth} holds 2^{self.depth} - 1 leaves."
            )
        node = leaf
        for height in range(self.depth):
            level = self._full[height]
            level.append(node)
            if len(level) % 2:
                break
            node = keccak256(level[-2] + level[-1])
        return index

    def _node(self, height: int, index: int) -> bytes:
        """Node `index` at `height`, whether complete, partial or empty."""
        level = self._full[height]
        if index < len(level):
            return level[index]
        if index << height >= self.count:
            return EMPTY_ROOTS[height]
        return keccak256(self._node(height - 1, 2 * index) + self._node(height - 1, 2 * index + 1))

    @property
    def root(self) -> bytes:
        """Root of the tree, all later leaves empty."""
        return frontier_root(self.frontier)

    @property
    def frontier(self) -> Frontier:
        """The state with which `append` continues this tree."""
        count = self.count
        branch = tuple(
            self._full[height][(count >> height) - 1] if count >> height & 1 else EMPTY_LEAF
            for height in range(self.depth)
        )
        return Frontier(count, branch)

    def prove(self, index: int) -> list[bytes]:
        """Siblings of leaf `index` from the leaf upwards; raises MerkleError if there is none."""
        if not 0 <= index < self.count:
            raise MerkleError(f"The tree has {self.count} leaves; there is no leaf {index}.")
        return [self._node(height, (index >> height) ^ 1) for height in range(self.depth)]
