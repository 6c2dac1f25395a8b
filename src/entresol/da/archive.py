"""A folder of blobs by versioned hash, for when L1 nodes have forgotten them (after 18 days).

A blob is stored once, written to a temporary name and renamed, so a crash leaves no half blob.
What is read is checked against its hash again: a damaged file is an error, never wrong data.
"""

import os
from pathlib import Path
from typing import Final

from entresol.crypto import kzg
from entresol.da.blobs import BLOB_BYTES
from entresol.da.errors import ArchiveError, BlobError

_SUFFIX: Final = ".blob"


class BlobArchive:
    """Blobs under `folder`, which is made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(
                f"the blob archive {folder} cannot be used: {error.strerror}"
            ) from error

    def _path(self, versioned_hash: bytes) -> Path:
        if len(versioned_hash) != 32:
            raise ArchiveError(f"a versioned hash is 32 bytes, not {len(versioned_hash)}")
        name = versioned_hash.hex()
        return self._folder / name[2:4] / (name + _SUFFIX)

    def __contains__(self, versioned_hash: bytes) -> bool:
        return self._path(versioned_hash).is_file()

    def add(self, blob: bytes) -> bytes:
        """Store a blob, durably, and return its versioned hash; storing it again is no error."""
        if len(blob) != BLOB_BYTES:
            raise BlobError(f"a blob is {BLOB_BYTES} bytes, not {len(blob)}")
        versioned_hash = _hash_of(blob)
        path = self._path(versioned_hash)
        if path.is_file() and self._read(path) == blob:
            return versioned_hash
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        with temporary.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
        return versioned_hash

    def get(self, versioned_hash: bytes) -> bytes | None:
        """The blob with that hash, None if it is not here; raises ArchiveError if it is damaged."""
        path = self._path(versioned_hash)
        blob = self._read(path)
        if blob is None:
            return None
        if len(blob) != BLOB_BYTES or _hash_of(blob) != versioned_hash:
            raise ArchiveError(
                f"the blob {path} is damaged: delete it and fetch it again from another source"
            )
        return blob

    def blob(self, versioned_hash: bytes, block: int) -> bytes | None:
        """As `get`: the form in which readers of L1 ask their sources; `block` is not needed."""
        del block
        return self.get(versioned_hash)

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"the blob {path} cannot be read: {error.strerror}") from error


def _hash_of(blob: bytes) -> bytes:
    try:
        return kzg.versioned_hash(kzg.blob_to_commitment(blob))
    except kzg.KzgError as error:
        raise ArchiveError("a stored blob has an element beyond the field's order") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
