import pytest

from entresol.crypto import kzg
from entresol.da.archive import BlobArchive
from entresol.da.blobs import pack, unpack
from entresol.settlement.l1 import L1Error
from entresol.settlement.reader import BeaconBlobs, BlobMissingError, L1Reader, NodeBlobs
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1

DATA = bytes(range(1, 252)) * 700


class Absent:
    def blob(self, versioned_hash, block):
        return None


class Lying:
    def blob(self, versioned_hash, block):
        return bytes(131_072)


class Malformed:
    def blob(self, versioned_hash, block):
        return b"short"


@pytest.fixture
def posted(world, sidecars):
    """Record 0 in blobs, record 1 in calldata, two inbox items."""
    user = world.user("alice")
    user.force_cancel_all(1)
    user.force_cancel_all(2)
    arguments = (0, len(DATA), 0, bytes(32), 0)
    world.transact("sequencer", "rollup", "post_blobs", *arguments, sidecar=sidecars[2])
    world.post(b"in calldata")
    return world


def make(world, *sources):
    reader = L1Reader(L1View(world.client, world.deployment), sources, unpack)
    assert reader.refresh() is None
    return reader


def test_everything_is_read_from_l1_alone(posted, sidecars):
    reader = make(posted, NodeBlobs(posted.client))
    assert reader.record_count == 2
    first, second = reader.record(0), reader.record(1)
    assert (first.data, first.blobs) == (DATA, sidecars[2].blobs)
    assert first.record.data_bytes == len(DATA)
    assert (second.data, second.blobs) == (b"in calldata", ())
    items = [entry.item for entry in posted.view().items]
    assert reader.inbox_items(0, 2) == tuple(items)
    assert reader.inbox_items(1, 2) == (items[1],)


def test_the_beacon_interface_serves_blobs(posted):
    reader = make(posted, BeaconBlobs(posted.client.url, slot_of=lambda block: block))
    assert reader.record(0).data == DATA
    elsewhere = make(posted, BeaconBlobs(posted.client.url, slot_of=lambda block: block - 1))
    with pytest.raises(BlobMissingError):
        elsewhere.record(0)
    away = make(posted, BeaconBlobs("http://127.0.0.1:9", slot_of=lambda block: block))
    with pytest.raises(BlobMissingError):
        away.record(0)


def test_an_archive_serves_what_l1_dropped(posted, tmp_path, sidecars):
    archive = BlobArchive(tmp_path / "blobs")
    with pytest.raises(BlobMissingError, match="add an archive"):
        make(posted, archive).record(0)
    for blob in sidecars[2].blobs:
        archive.add(blob)
    assert make(posted, Absent(), archive).record(0).data == DATA


def test_no_source_is_trusted(posted):
    for source in (Lying(), Malformed(), Absent()):
        with pytest.raises(BlobMissingError, match="data record 0"):
            make(posted, source).record(0)
        assert make(posted, source, NodeBlobs(posted.client)).record(0).data == DATA


def test_the_nodes_calldata_is_checked(posted, monkeypatch):
    read = posted.client.events

    def twist(*arguments):
        found = read(*arguments)
        for event in found:
            if event.name == "RecordData":
                event.arguments["data"] = b"in CALLDATA"
        return found

    monkeypatch.setattr(posted.client, "events", twist)
    with pytest.raises(L1Error, match="do not match their root"):
        make(posted).record(1)


def test_an_unknown_blob_is_absent_from_the_node(world):
    unknown = kzg.versioned_hash(kzg.blob_to_commitment(pack(b"never posted")[0]))
    assert NodeBlobs(world.client).blob(unknown, 1) is None
