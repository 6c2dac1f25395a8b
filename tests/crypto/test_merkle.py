import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import merkle
from entresol.crypto.keccak import keccak256
from entresol.crypto.merkle import AppendOnlyTree, MerkleError

hashes = st.binary(min_size=32, max_size=32)


def naive_root(leaves, depth):
    """Root by recursion over the full tree."""
    if depth == 0:
        return leaves[0] if leaves else bytes(32)
    half = 1 << (depth - 1)
    left, right = naive_root(leaves[:half], depth - 1), naive_root(leaves[half:], depth - 1)
    return keccak256(left + right)


def test_empty_roots_are_the_well_known_ones():
    assert merkle.EMPTY_ROOTS[1].hex() == (
        "ad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5"
    )
    assert merkle.EMPTY_ROOTS[2].hex() == (
        "b4c11951957c6f8f642c4af61cd6b24640fec6dc7fc607ee8206a99e92410d30"
    )
    assert merkle.EMPTY_ROOTS[32].hex() == (
        "27ae5ba08d7291c96c8cbddcc148bf48a6d68c7974b94356f53754ef6171d757"
    )


@given(st.lists(hashes, max_size=20), st.integers(0, 3))
@settings(deadline=None)
def test_fixed_list_root_and_proofs(leaves, extra):
    depth = merkle.depth_for(len(leaves)) + extra
    root = merkle.merkle_root(leaves, depth)
    assert root == naive_root(leaves, depth)
    for index in range(min(1 << depth, len(leaves) + 2)):
        leaf = leaves[index] if index < len(leaves) else bytes(32)
        proof = merkle.merkle_proof(leaves, index, depth)
        assert merkle.verify(root, leaf, index, proof, depth)
        assert not merkle.verify(root, keccak256(leaf), index, proof, depth)


@given(st.lists(hashes, max_size=40))
@settings(max_examples=50, deadline=None)
def test_appending_matches_the_full_tree_at_every_step(leaves):
    tree, frontier = AppendOnlyTree(6), merkle.Frontier(0, (bytes(32),) * 6)
    for count, leaf in enumerate(leaves, 1):
        assert tree.append(leaf) == count - 1
        frontier = merkle.append(frontier, leaf)
        expected = naive_root(leaves[:count], 6)
        assert tree.root == merkle.frontier_root(frontier) == expected
        assert tree.frontier.count == frontier.count == count
    for index in range(len(leaves)):
        assert merkle.verify(tree.root, leaves[index], index, tree.prove(index), 6)
    assert tree.leaves == tuple(leaves)


def test_stale_frontier_entries_do_not_matter():
    frontier = merkle.EMPTY_FRONTIER
    for number in range(5):
        frontier = merkle.append(frontier, keccak256(bytes([number])))
    dirty = merkle.Frontier(
        frontier.count,
        tuple(
            node if frontier.count >> height & 1 else b"\xff" * 32
            for height, node in enumerate(frontier.branch)
        ),
    )
    assert merkle.frontier_root(dirty) == merkle.frontier_root(frontier)
    following = keccak256(b"next")
    assert merkle.frontier_root(merkle.append(dirty, following)) == merkle.frontier_root(
        merkle.append(frontier, following)
    )


def test_the_withdrawals_tree_has_depth_32():
    tree = AppendOnlyTree()
    assert tree.root == merkle.EMPTY_ROOTS[32] == merkle.frontier_root(merkle.EMPTY_FRONTIER)
    tree.append(keccak256(b"leaf"))
    proof = tree.prove(0)
    assert proof == list(merkle.EMPTY_ROOTS[:32])
    assert merkle.verify(tree.root, keccak256(b"leaf"), 0, proof)


@given(st.lists(hashes, min_size=2, max_size=12, unique=True), st.data())
@settings(deadline=None)
def test_a_changed_proof_does_not_verify(leaves, data):
    tree = AppendOnlyTree(5)
    for leaf in leaves:
        tree.append(leaf)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = tree.prove(index)
    level = data.draw(st.integers(0, 4))
    bit = data.draw(st.integers(0, 255))
    changed = (int.from_bytes(proof[level], "big") ^ 1 << bit).to_bytes(32, "big")
    forged = [*proof[:level], changed, *proof[level + 1 :]]
    assert not merkle.verify(tree.root, leaves[index], index, forged, 5)
    other = data.draw(st.integers(0, 31).filter(lambda i: i != index))
    assert not merkle.verify(tree.root, leaves[index], other, proof, 5)


def test_malformed_proofs_are_false_not_errors():
    tree = AppendOnlyTree(4)
    tree.append(bytes(32))
    proof = tree.prove(0)
    assert merkle.verify(tree.root, bytes(32), 0, proof, 4)
    assert not merkle.verify(tree.root, bytes(32), 0, proof[:3], 4)
    assert not merkle.verify(tree.root, bytes(32), 16, proof, 4)
    assert not merkle.verify(tree.root, bytes(32), -1, proof, 4)
    assert not merkle.verify(tree.root, bytes(31), 0, proof, 4)
    assert not merkle.verify(tree.root, bytes(32), 0, [*proof[:3], b"x"], 4)


def test_a_node_is_not_taken_for_a_leaf_of_a_shorter_tree():
    leaves = [keccak256(bytes([index])) for index in range(4)]
    root = merkle.merkle_root(leaves, 2)
    inner = merkle.hash_node(leaves[0], leaves[1])
    sibling = merkle.hash_node(leaves[2], leaves[3])
    assert merkle.root_from_proof(inner, 0, [sibling]) == root
    assert not merkle.verify(root, inner, 0, [sibling], 2)


def test_full_and_impossible_trees():
    tree = AppendOnlyTree(2)
    frontier = merkle.Frontier(0, (bytes(32),) * 2)
    for _ in range(3):
        tree.append(bytes(32))
        frontier = merkle.append(frontier, bytes(32))
    with pytest.raises(MerkleError, match="holds"):
        tree.append(bytes(32))
    with pytest.raises(MerkleError, match="holds"):
        merkle.append(frontier, bytes(32))
    with pytest.raises(MerkleError, match="no leaf 3"):
        tree.prove(3)
    with pytest.raises(MerkleError, match="do not fit"):
        merkle.merkle_root([bytes(32)] * 3, 1)
    with pytest.raises(MerkleError, match="32 bytes"):
        merkle.merkle_root([b"short"])
    with pytest.raises(MerkleError, match="depth"):
        merkle.merkle_root([], 65)
