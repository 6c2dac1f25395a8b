import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import field, state_hash
from entresol.crypto.field import PRIME
from entresol.crypto.keccak import keccak256
from entresol.crypto.poseidon import permute_plain

leaves = st.binary(min_size=32, max_size=32)
digests = st.lists(st.integers(0, PRIME - 1), min_size=8, max_size=8).map(field.encode_digest)


def test_the_definition_on_one_leaf():
    leaf = bytes(range(32))
    words = [leaf[2 * i] + 256 * leaf[2 * i + 1] for i in range(16)]
    text = keccak256(b"Entresol state hash: leaf")
    constant = [int.from_bytes(text[4 * i : 4 * i + 4], "big") for i in range(8)]
    permuted = permute_plain(words)
    expected = [(permuted[i] + words[i] + constant[i]) % PRIME for i in range(8)]
    assert state_hash.hash_leaf(leaf) == b"".join(w.to_bytes(4, "big") for w in expected)


def test_the_state_root_of_an_empty_chain_is_pinned():
    """A change here changes every root: it needs a new program id."""
    digest = state_hash.hash_leaf(bytes(32))
    assert digest.hex() == "4db4c4125d5126b37c0a10445639b75f4de40ca1273b4e5e73c8560815c7f63b"
    for _ in range(25):
        digest = state_hash.hash_node(digest, digest)
    assert state_hash.hash_region(digest, digest).hex() == EMPTY_STATE


EMPTY_STATE = "5f4751b364d9cd7931db07652293336002544e54207f841312a554582239a089"


@given(leaves, digests, digests)
@settings(max_examples=15, deadline=None)
def test_compiled_and_plain_agree(leaf, left, right):
    assert state_hash.hash_leaf(leaf) == state_hash.hash_leaf_plain(leaf)
    assert state_hash.hash_node(left, right) == state_hash.hash_node_plain(left, right)
    assert state_hash.hash_region(left, right) == state_hash.hash_region_plain(left, right)


@given(digests, digests)
@settings(max_examples=20, deadline=None)
def test_domains_and_order_matter(left, right):
    hashes = {state_hash.hash_node(left, right), state_hash.hash_region(left, right)}
    assert len(hashes) == 2
    if left != right:
        hashes |= {state_hash.hash_node(right, left), state_hash.hash_region(right, left)}
        assert len(hashes) == 4


def test_domain_constants_are_distinct_and_canonical():
    assert len(set(state_hash.DOMAIN_CONSTANTS)) == 3
    for constant in state_hash.DOMAIN_CONSTANTS:
        field.encode_digest(constant)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 31, 32, 33, 100])
def test_batches_of_any_size_equal_single_hashes(count):
    data = np.random.default_rng(count).integers(0, 256, (count, 32), np.uint8)
    words = state_hash.hash_leaves(data)
    assert words.shape == (count, 8)
    single = [state_hash.hash_leaf(row.tobytes()) for row in data]
    assert [state_hash.words_to_digest(row) for row in words] == single
    even = words[: count // 2 * 2]
    for domain, one in (
        (state_hash.NODE, state_hash.hash_node),
        (state_hash.REGION, state_hash.hash_region),
    ):
        parents = state_hash.hash_nodes(even, domain)
        expected = [one(single[2 * i], single[2 * i + 1]) for i in range(count // 2)]
        assert [state_hash.words_to_digest(row) for row in parents] == expected


def test_a_batch_may_be_a_strided_view():
    data = np.random.default_rng(1).integers(0, 256, (40, 64), np.uint8)
    strided = data[::2, 32:]
    copied = np.ascontiguousarray(strided)
    assert np.array_equal(state_hash.hash_leaves(strided), state_hash.hash_leaves(copied))


def test_non_canonical_children_are_refused():
    good = state_hash.hash_leaf(bytes(32))
    bad = (PRIME).to_bytes(4, "big") + bytes(28)
    for left, right in ((good, bad), (bad, good)):
        with pytest.raises(field.DigestError):
            state_hash.hash_node(left, right)


@pytest.mark.parametrize("leaf", [b"", bytes(31), bytes(33)])
def test_wrong_leaf_sizes(leaf):
    with pytest.raises(state_hash.LeafError):
        state_hash.hash_leaf(leaf)


def test_wrong_batch_shapes():
    for bad in (np.zeros((2, 31), np.uint8), np.zeros(32, np.uint8), np.zeros((2, 32), np.int8)):
        with pytest.raises(state_hash.LeafError):
            state_hash.hash_leaves(bad)
    for bad in (np.zeros((3, 8), np.uint32), np.zeros((2, 7), np.uint32), np.zeros((2, 8))):
        with pytest.raises(state_hash.LeafError):
            state_hash.hash_nodes(bad)
    with pytest.raises(state_hash.LeafError):
        state_hash.hash_nodes(np.zeros((2, 8), np.uint32), state_hash.LEAF)
