import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.crypto import kzg
from entresol.da import blobs
from entresol.da.errors import BlobError
from entresol.rollup import limits


@given(st.binary(min_size=1, max_size=200))
def test_round_trip_of_short_data(data):
    packed = blobs.pack(data)
    assert len(packed) == 1
    assert blobs.unpack(packed, len(data)) == data
    assert blobs.is_canonical(packed, len(data))


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_round_trip_at_the_edge_of_a_blob(extra):
    length = limits.BLOB_DATA_BYTES + extra
    data = bytes(n % 251 for n in range(length))
    packed = blobs.pack(data)
    assert len(packed) == (2 if extra > 0 else 1)
    assert blobs.unpack(packed, length) == data
    with pytest.raises(BlobError):
        blobs.unpack([*packed, packed[0]], length)


def test_an_element_is_a_zero_byte_and_31_data_bytes():
    packed = blobs.pack(bytes(range(1, 40)))[0]
    assert packed[:33] == bytes(range(32)) + b"\0"
    assert packed[33:64] == bytes(range(32, 40)) + bytes(23)


def test_limits():
    with pytest.raises(BlobError):
        blobs.pack(b"")
    with pytest.raises(BlobError):
        blobs.pack(bytes(limits.MAX_BLOB_BATCH_BYTES + 1))
    assert len(blobs.pack(bytes(limits.MAX_BLOB_BATCH_BYTES))) == 6
    with pytest.raises(BlobError):
        blobs.unpack([bytes(100)], 5)


def test_what_the_machine_cannot_see_changes_no_data_but_is_noticed():
    data = bytes(range(1, 200))
    blob = blobs.pack(data)[0]
    for position in (0, 32, blobs.BLOB_BYTES - 1, 32 * 7):
        other = bytearray(blob)
        other[position] = 1
        assert blobs.unpack([bytes(other)], len(data)) == data
        assert not blobs.is_canonical([bytes(other)], len(data))


def test_workers_prove_what_the_library_verifies():
    packed = blobs.pack(b"batch" * 1000)
    with blobs.BlobWorkers(1) as workers:
        (proven,) = workers.prove(packed)
    assert proven.blob == packed[0]
    assert proven.versioned_hash == kzg.versioned_hash(proven.commitment)
    assert len(proven.cell_proofs) == 128
    assert kzg.verify_cell_proofs(proven.blob, proven.commitment, proven.cell_proofs)
