import hashlib

import pytest

from entresol.crypto import kzg
from entresol.crypto.keccak import keccak256

EMPTY_BLOB = bytes(kzg.BLOB_BYTES)
POINT_AT_INFINITY = b"\xc0" + bytes(47)


def element(number):
    return number.to_bytes(32, "big")


@pytest.fixture(scope="module")
def blob():
    return b"".join(b"\0" + keccak256(b"%d" % index)[1:] for index in range(4096))


@pytest.fixture(scope="module")
def commitment(blob):
    return kzg.blob_to_commitment(blob)


def test_the_empty_blob_has_the_well_known_versioned_hash():
    assert kzg.blob_to_commitment(EMPTY_BLOB) == POINT_AT_INFINITY
    assert kzg.versioned_hash(POINT_AT_INFINITY).hex() == (
        "010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014"
    )


def test_a_constant_blob_commits_to_a_multiple_of_the_generator():
    # The Lagrange basis sums to one, so the constant polynomial 1 commits to the generator of G1.
    generator = bytes.fromhex(
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905"
        "a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
    )
    assert kzg.blob_to_commitment(element(1) * 4096) == generator


def test_versioned_hash(commitment):
    expected = b"\x01" + hashlib.sha256(commitment).digest()[1:]
    assert kzg.versioned_hash(commitment) == expected


def test_cell_proofs(blob, commitment):
    proofs = kzg.compute_cell_proofs(blob)
    assert len(proofs) == kzg.CELLS_PER_BLOB
    assert kzg.verify_cell_proofs(blob, commitment, proofs)
    assert not kzg.verify_cell_proofs(blob, commitment, [proofs[1], proofs[0], *proofs[2:]])
    other = element(7) + blob[32:]
    assert not kzg.verify_cell_proofs(other, commitment, proofs)
    with pytest.raises(kzg.KzgError, match="128 cell proofs"):
        kzg.verify_cell_proofs(blob, commitment, proofs[:-1])


def test_blob_proof(blob, commitment):
    proof = kzg.compute_blob_proof(blob, commitment)
    assert kzg.verify_blob_proof(blob, commitment, proof)
    assert not kzg.verify_blob_proof(element(7) + blob[32:], commitment, proof)


@pytest.mark.parametrize("index", [0, 1, 2, 77, 4095])
def test_element_i_is_the_value_at_root_i(blob, commitment, index):
    z = element(kzg.roots_of_unity()[index])
    proof, y = kzg.open_at(blob, z)
    assert y == blob[32 * index : 32 * index + 32]
    assert kzg.verify_opening(commitment, z, y, proof)
    assert not kzg.verify_opening(commitment, z, element(int.from_bytes(y, "big") ^ 1), proof)


def test_opening_off_the_domain(blob, commitment):
    z = element(int.from_bytes(keccak256(b"challenge"), "big") % kzg.SCALAR_FIELD)
    proof, y = kzg.open_at(blob, z)
    assert y == element(barycentric(blob, int.from_bytes(z, "big")))
    assert kzg.verify_opening(commitment, z, y, proof)
    assert not kzg.verify_opening(commitment, element(5), y, proof)
    data = kzg.precompile_input(commitment, z, y, proof)
    assert data == kzg.versioned_hash(commitment) + z + y + commitment + proof
    assert len(data) == 192


def barycentric(blob, z):
    """The polynomial through the blob's values, at z, by the barycentric formula."""
    order, total = kzg.SCALAR_FIELD, 0
    for index, root in enumerate(kzg.roots_of_unity()):
        value = int.from_bytes(blob[32 * index : 32 * index + 32], "big")
        total += value * root * pow(z - root, -1, order)
    return total * (pow(z, 4096, order) - 1) * pow(4096, -1, order) % order


def test_roots_of_unity_are_a_subgroup_in_bit_reversed_order():
    roots = kzg.roots_of_unity()
    assert len(set(roots)) == 4096
    assert roots[0] == 1
    assert roots[1] == kzg.SCALAR_FIELD - 1
    assert all(pow(root, 4096, kzg.SCALAR_FIELD) == 1 for root in roots[:64])


def test_elements_beyond_the_field_are_refused(commitment):
    bad = element(kzg.SCALAR_FIELD) + EMPTY_BLOB[32:]
    for function in (kzg.blob_to_commitment, kzg.compute_cell_proofs):
        with pytest.raises(kzg.KzgError, match="scalar field"):
            function(bad)
    with pytest.raises(kzg.KzgError, match="scalar field"):
        kzg.open_at(EMPTY_BLOB, element(kzg.SCALAR_FIELD))
    with pytest.raises(kzg.KzgError):
        kzg.open_at(bad, element(1))
    assert not kzg.verify_opening(commitment, element(2**256 - 1), element(1), POINT_AT_INFINITY)


def test_wrong_lengths_are_refused(commitment):
    with pytest.raises(kzg.KzgError, match="131072 bytes"):
        kzg.blob_to_commitment(EMPTY_BLOB[:-1])
    with pytest.raises(kzg.KzgError, match="48 bytes"):
        kzg.versioned_hash(commitment[:-1])
    with pytest.raises(kzg.KzgError, match="48 bytes"):
        kzg.verify_opening(commitment, element(1), element(1), b"")


def test_points_off_the_curve_never_verify():
    assert not kzg.verify_opening(b"\xff" * 48, element(1), element(1), POINT_AT_INFINITY)
    assert not kzg.verify_blob_proof(EMPTY_BLOB, b"\xff" * 48, POINT_AT_INFINITY)


def test_a_changed_setup_is_not_used(monkeypatch, tmp_path):
    kzg._setup.cache_clear()
    monkeypatch.setattr(kzg, "SETUP_SHA256", "00" * 32)
    with pytest.raises(kzg.SetupError, match="reinstall"):
        kzg.blob_to_commitment(EMPTY_BLOB)
    monkeypatch.setattr(kzg, "_SETUP_PATH", ("nowhere.txt",))
    with pytest.raises(kzg.SetupError, match="pinned version"):
        kzg.blob_to_commitment(EMPTY_BLOB)
    monkeypatch.undo()
    assert kzg.blob_to_commitment(EMPTY_BLOB) == POINT_AT_INFINITY
