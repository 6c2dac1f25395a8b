"""Reads what the rollup needs from L1 alone: data records with their bytes, and inbox items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx

from entresol.crypto import kzg
from entresol.settlement.l1 import L1Client, L1Error, L1UnavailableError
from entresol.settlement.records import CALLDATA, DataRecord, chunk_root
from entresol.settlement.view import L1View, PostedRecord


class BlobMissingError(Exception):
    """No source has a blob any more; the message says which one to look for elsewhere."""


class BlobSource(Protocol):
    """Somewhere that may have blobs."""

    def blob(self, versioned_hash: bytes, block: int) -> bytes | None:
        """The blob with that hash, carried by L1 block `block`; None if it is not there."""


class NodeBlobs:
    """Blobs that the development L1 node itself keeps."""

    def __init__(self, client: L1Client) -> None:
        self._client = client

    def blob(self, versioned_hash: bytes, block: int) -> bytes | None:
        """See BlobSource."""
        del block
        try:
            found = self._client.rpc("anvil_getBlobByHash", "0x" + versioned_hash.hex())
        except L1UnavailableError:
            raise
        except L1Error:
            return None
        return None if found is None else bytes.fromhex(found[2:])


class BeaconBlobs:
    """Blobs from the beacon API; `slot_of` finds the slot of an L1 block number."""

    def __init__(
        self, url: str, slot_of: Callable[[int], int], timeout_seconds: float = 30.0
    ) -> None:
        self._url = url.rstrip("/")
        self._slot_of = slot_of
        self._timeout = timeout_seconds

    def blob(self, versioned_hash: bytes, block: int) -> bytes | None:
        """See BlobSource; a node that does not answer counts as one without the blob."""
        path = f"/eth/v1/beacon/blobs/{self._slot_of(block)}"
        try:
            query = {"versioned_hashes": "0x" + versioned_hash.hex()}
            answer = httpx.get(self._url + path, params=query, timeout=self._timeout)
            if answer.status_code != httpx.codes.OK:
                return None
            found = answer.json()["data"]
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        return bytes.fromhex(found[0][2:]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordData:
    """A data record with its bytes, checked against what L1 committed to."""

    record: DataRecord
    data: bytes
    blobs: tuple[bytes, ...]


class L1Reader:
    """Joins the mirror of L1 with the places that keep blobs; trusts none of them.

    `unpack(blobs, length)` is da/blobs.py's.  Sources are asked in order.
    """

    def __init__(
        self,
        view: L1View,
        sources: Sequence[BlobSource],
        unpack: Callable[[Sequence[bytes], int], bytes],
    ) -> None:
        self.view = view
        self._sources = tuple(sources)
        self._unpack = unpack

    def refresh(self) -> int | None:
        """Follow L1; the block after which everything was undone, None without a reorg."""
        return self.view.refresh()

    @property
    def record_count(self) -> int:
        """Data records on L1."""
        return len(self.view.records)

    def record(self, index: int) -> RecordData:
        """Data record `index` with its bytes; raises BlobMissingError."""
        posted = self.view.records[index]
        if posted.record.source == CALLDATA:
            return RecordData(record=posted.record, data=self._calldata(posted), blobs=())
        blobs = tuple(self._blob(h, posted) for h in posted.record.blob_hashes)
        data = self._unpack(blobs, posted.record.data_bytes)
        return RecordData(record=posted.record, data=data, blobs=blobs)

    def inbox_items(self, first: int, last: int) -> tuple[bytes, ...]:
        """The 128-byte items at positions `first` to `last - 1`, checked on the hash chain."""
        return tuple(entry.item for entry in self.view.items[first:last])

    def _blob(self, versioned_hash: bytes, posted: PostedRecord) -> bytes:
        for source in self._sources:
            blob = source.blob(versioned_hash, posted.block)
            if blob is not None and _is_blob(blob, versioned_hash):
                return blob
        raise BlobMissingError(
            f"blob 0x{versioned_hash.hex()} of data record {posted.record.index} (L1 block "
            f"{posted.block}) is in no source: L1 drops blobs after 18 days, add an archive"
        )

    def _calldata(self, posted: PostedRecord) -> bytes:
        data = posted.data
        if data is None or chunk_root(data) != posted.record.chunk_root:
            raise L1Error(
                f"the node's bytes of data record {posted.record.index} do not match their root: "
                "use another L1 node"
            )
        return data


def _is_blob(blob: bytes, versioned_hash: bytes) -> bool:
    """True when these bytes are the blob that L1 names."""
    try:
        return kzg.versioned_hash(kzg.blob_to_commitment(blob)) == versioned_hash
    except kzg.KzgError:
        return False
