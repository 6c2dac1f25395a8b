import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.crypto.keccak import keccak256
from entresol.da import calldata
from entresol.da.errors import ChunkError
from entresol.rollup import limits


def root_of(leaves):
    nodes = [*leaves, *[bytes(32)] * (128 - len(leaves))]
    while len(nodes) > 1:
        nodes = [keccak256(nodes[n] + nodes[n + 1]) for n in range(0, len(nodes), 2)]
    return nodes[0]


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 5000, limits.MAX_CALLDATA_BATCH_BYTES])
def test_root_is_over_whole_chunks_and_a_short_last_one(length):
    data = bytes(n % 253 for n in range(length))
    chunks = [data[n : n + 1024] for n in range(0, length, 1024)]
    assert calldata.split(data) == chunks
    assert calldata.chunk_root(data) == root_of([keccak256(chunk) for chunk in chunks])


@given(st.integers(1, 6000), st.data())
def test_every_chunk_is_proven_and_nothing_else_is(length, draw):
    data = bytes(n % 255 for n in range(length))
    root = calldata.chunk_root(data)
    index = draw.draw(st.integers(0, (length - 1) // 1024))
    chunk, proof = calldata.prove_chunk(data, index)
    assert calldata.verify_chunk(root, index, chunk, proof)
    assert not calldata.verify_chunk(root, index ^ 1, chunk, proof)
    assert not calldata.verify_chunk(root, index, chunk + b"\0", proof)
    assert not calldata.verify_chunk(root, index, chunk, proof[:-1])


def test_limits():
    for data in (b"", bytes(limits.MAX_CALLDATA_BATCH_BYTES + 1)):
        with pytest.raises(ChunkError):
            calldata.chunk_root(data)
    with pytest.raises(ChunkError):
        calldata.prove_chunk(b"abc", 1)
