import pytest

from entresol.crypto import kzg
from entresol.da import blobs
from entresol.da.archive import BlobArchive
from entresol.da.errors import ArchiveError, BlobError

BLOB = blobs.pack(b"kept")[0]


def test_a_stored_blob_comes_back_also_after_a_restart(tmp_path):
    archive = BlobArchive(tmp_path / "blobs")
    versioned_hash = archive.add(BLOB)
    assert versioned_hash == kzg.versioned_hash(kzg.blob_to_commitment(BLOB))
    assert archive.add(BLOB) == versioned_hash
    again = BlobArchive(tmp_path / "blobs")
    assert versioned_hash in again
    assert again.get(versioned_hash) == BLOB
    assert again.blob(versioned_hash, 7) == BLOB
    assert again.get(b"\x01" + bytes(31)) is None
    assert [path.suffix for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [".blob"]


def test_damage_is_an_error_and_is_mended_by_storing_again(tmp_path):
    archive = BlobArchive(tmp_path)
    versioned_hash = archive.add(BLOB)
    (path,) = tmp_path.rglob("*.blob")
    for damaged in (BLOB[:-1], b"\0\x01" + BLOB[2:], b"\xff" * len(BLOB)):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError):
            archive.get(versioned_hash)
    assert archive.add(BLOB) == versioned_hash
    assert archive.get(versioned_hash) == BLOB


def test_wrong_sizes_are_refused(tmp_path):
    archive = BlobArchive(tmp_path)
    with pytest.raises(BlobError):
        archive.add(BLOB[:-1])
    with pytest.raises(ArchiveError):
        archive.get(b"\x01")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError):
        BlobArchive(tmp_path / "file")
