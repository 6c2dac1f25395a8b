"""The journal keeps every committed frame through torn tails, and tells damage from a torn tail."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from entresol.sequencing import journal as journal_module
from entresol.sequencing.journal import (
    Frame,
    Journal,
    JournalDamagedError,
    JournalError,
    JournalFailedError,
    JournalReader,
    list_segments,
)

DOMAIN = bytes(range(32))


def fill(directory: pathlib.Path, count: int, **options: int) -> list[Frame]:
    journal = Journal(directory, DOMAIN, **options)
    first = journal.last_number
    frames = []
    for index in range(first + 1, first + count + 1):
        payload = index.to_bytes(4, "little") * (index % 50)
        assert journal.append(index % 5, payload) == index
        frames.append(Frame(index, index % 5, payload))
        if index % 7 == 0:
            journal.flush()
    journal.close()
    return frames


def read_all(directory: pathlib.Path, after: int = 0) -> list[Frame]:
    return list(JournalReader(directory, DOMAIN, after).read())


def test_frames_come_back_in_order_over_many_segments_and_openings(tmp_path: pathlib.Path) -> None:
    frames = fill(tmp_path, 200, segment_bytes=4096)
    frames += fill(tmp_path, 100, segment_bytes=4096)
    assert len(list_segments(tmp_path)) > 3
    assert read_all(tmp_path) == frames
    assert read_all(tmp_path, after=150) == frames[150:]
    reader = JournalReader(tmp_path, DOMAIN)
    assert list(reader.read(through=120)) == frames[:120]
    assert list(reader.read(through=120)) == []
    assert list(reader.read()) == frames[120:]


def test_every_cut_of_an_uncommitted_tail_leaves_whole_frames(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    frames = fill(source, 9)
    _, path = list_segments(source)[0]
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        target = tmp_path / f"cut-{cut}"
        target.mkdir()
        (target / path.name).write_bytes(data[:cut])
        journal = Journal(target, DOMAIN)
        kept = journal.last_number
        assert journal.durable_number == kept
        assert journal.append(3, b"next") == kept + 1
        journal.close()
        assert read_all(target) == [*frames[:kept], Frame(kept + 1, 3, b"next")]
    assert kept == len(frames)


def test_damage_to_a_committed_frame_is_an_error_and_not_a_torn_tail(
    tmp_path: pathlib.Path,
) -> None:
    fill(tmp_path, 30)
    _, path = list_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamagedError, match="had been committed"):
        Journal(tmp_path, DOMAIN)
    with pytest.raises(JournalDamagedError, match="is missing"):
        list(JournalReader(tmp_path, DOMAIN).read(through=30))


def test_a_missing_middle_segment_is_an_error(tmp_path: pathlib.Path) -> None:
    fill(tmp_path, 200, segment_bytes=4096)
    segments = list_segments(tmp_path)
    segments[1][1].unlink()
    with pytest.raises(JournalDamagedError):
        list(JournalReader(tmp_path, DOMAIN).read(through=200))


def test_a_journal_of_another_domain_is_refused(tmp_path: pathlib.Path) -> None:
    fill(tmp_path, 3)
    with pytest.raises(JournalError, match="own data folder"):
        Journal(tmp_path, bytes(32))


def test_durable_is_announced_after_the_disk_and_never_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised: list[int] = []
    announced: list[int] = []
    gate = threading.Event()
    real = os.fdatasync

    def gated(descriptor: int) -> None:
        assert gate.wait(10)
        real(descriptor)
        synchronised.append(len(announced))

    monkeypatch.setattr(journal_module.os, "fdatasync", gated)
    journal = Journal(tmp_path, DOMAIN)
    journal.on_durable = announced.append
    for _ in range(10):
        journal.append(1, b"x")
    assert announced == [] and journal.durable_number == 0
    gate.set()
    journal.flush()
    journal.close()
    assert announced[-1] == 10
    assert synchronised[0] == 0
    assert journal.commit_count <= 2, "ten frames waiting for one disk write are one commit"


def test_a_disk_error_is_reported_and_nothing_more_is_accepted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = []
    announced: list[int] = []

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path, DOMAIN)
    journal.on_failure = failures.append
    journal.on_durable = announced.append
    monkeypatch.setattr(journal_module.os, "fdatasync", refuse)
    journal.append(1, b"lost")
    with pytest.raises(JournalFailedError, match="No space left"):
        journal.flush()
    with pytest.raises(JournalFailedError, match="free or repair the disk"):
        journal.append(1, b"refused")
    journal.close()
    assert len(failures) == 1 and announced == []


def test_prune_keeps_every_frame_from_the_given_one(tmp_path: pathlib.Path) -> None:
    frames = fill(tmp_path, 200, segment_bytes=4096)
    journal = Journal(tmp_path, DOMAIN)
    assert journal.prune(before=150) > 0
    journal.close()
    assert read_all(tmp_path, after=149) == frames[149:]
    with pytest.raises(JournalDamagedError, match="is missing"):
        list(JournalReader(tmp_path, DOMAIN).read(through=200))


WRITER = """
import sys, pathlib
from entresol.sequencing.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]), bytes(range(32)), segment_bytes=20000)
out = sys.stdout
journal.on_durable = lambda number: (out.write(f"{number}\\n"), out.flush())
while True:
    number = journal.append(1, (journal.last_number + 1).to_bytes(8, "little") * 20)
    if number % 37 == 0:
        journal.flush()
"""


def test_killed_writers_lose_no_announced_frame(tmp_path: pathlib.Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    choose = random.Random(seed)
    announced = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        announced = int(process.stdout.readline())
        deadline = time.monotonic() + choose.uniform(0.01, 0.4)
        while time.monotonic() < deadline:
            announced = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        announced = max([announced, *(int(line) for line in rest[:-1])])
        frames = read_all(tmp_path)
        assert len(frames) >= announced
        assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
        for frame in frames:
            assert frame.payload == frame.number.to_bytes(8, "little") * 20
