"""ELF files: what loads, where, and what is refused with which words."""

import pathlib
import struct

import pytest
from assembler import assemble, halt, needs_assembler
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.kernel import layout
from entresol.machine.elf import ElfError, build_elf, load_elf, parse_elf
from entresol.machine.interpreter import Interpreter
from entresol.machine.memory import Memory

CODE = bytes(range(1, 65))
GOOD = build_elf(CODE, layout.CODE_BASE + 8)


def patched(offset: int, layout_code: str, value: int) -> bytes:
    content = bytearray(GOOD)
    struct.pack_into(layout_code, content, offset, value)
    return bytes(content)


def test_image_comes_back(tmp_path: pathlib.Path) -> None:
    program = parse_elf(GOOD)
    assert program.entry == layout.CODE_BASE + 8
    assert [(s.address, s.data, s.size) for s in program.segments] == [
        (layout.CODE_BASE, CODE, len(CODE))
    ]
    path = tmp_path / "image"
    path.write_bytes(GOOD)
    memory = Memory()
    assert load_elf(path, memory) == layout.CODE_BASE + 8
    assert memory.read(layout.CODE_BASE, 65) == CODE + b"\0"


@needs_assembler
@pytest.mark.parametrize("region", ["PARAMS", "JOURNAL", "SCRATCH", "INPUT", "STATE"])
def test_segments_go_to_any_region(region: str, tmp_path: pathlib.Path) -> None:
    source = f"""
        la t0, number
        ld a0, 0(t0)
        ld t1, zero
        add a0, a0, t1
        {halt()}
        .data
    number: .dword 4321
    zero:   .dword 0
        .bss
        .space 64
    """
    path = assemble(source, tmp_path, data=layout.REGIONS[region][0])
    memory = Memory()
    assert Interpreter(memory).run(load_elf(path, memory)).exit_code == 4321


@needs_assembler
def test_the_file_header_below_the_text_is_left_out(tmp_path: pathlib.Path) -> None:
    path = assemble(halt("x0"), tmp_path)
    program = parse_elf(path.read_bytes())
    assert program.segments[0].address == layout.CODE_BASE
    assert program.segments[0].data[:4] == bytes.fromhex("13050000")


REFUSED = {
    "empty": (b"", "not an ELF file"),
    "text": (b"#!/bin/sh\n" * 20, "not an ELF file"),
    "only the magic": (GOOD[:40], "not an ELF file"),
    "32-bit": (patched(4, "<B", 1), "64-bit"),
    "big-endian": (patched(5, "<B", 2), "little-endian"),
    "x86-64": (patched(18, "<H", 62), "machine 62"),
    "relocatable": (patched(16, "<H", 1), "static executable"),
    "position independent": (patched(16, "<H", 3), "static executable"),
    "no segments": (patched(56, "<H", 0), "program headers"),
    "too many segments": (patched(56, "<H", 65535), "program headers"),
    "odd segment size": (patched(54, "<H", 32), "program headers"),
    "headers beyond the file": (patched(32, "<Q", 1 << 60), "beyond the file"),
    "dynamic": (patched(64, "<I", 2), "dynamically linked"),
    "interpreter": (patched(64, "<I", 3), "dynamically linked"),
    "thread-local": (patched(64, "<I", 7), "thread-local"),
    "nothing to load": (patched(64, "<I", 4), "nothing to load"),
    "data beyond the file": (patched(64 + 32, "<Q", 65), "damaged"),
    "offset beyond the file": (patched(64 + 8, "<Q", (1 << 64) - 1), "damaged"),
    "more in file than in memory": (patched(64 + 40, "<Q", 63), "damaged"),
    "unmapped": (patched(64 + 16, "<Q", 0x1000), "no region"),
    "before a region": (patched(64 + 16, "<Q", layout.CODE_BASE - 8), "no region"),
    "across a region's end": (
        patched(64 + 16, "<Q", layout.CODE_BASE + layout.CODE_BYTES - 8),
        "no region",
    ),
    "at the end of everything": (patched(64 + 16, "<Q", (1 << 64) - 8), "no region"),
    "huge": (patched(64 + 40, "<Q", 1 << 40), "no region"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(ElfError, match=message):
        parse_elf(content)


def test_overlapping_segments_are_refused() -> None:
    segment = GOOD[64 : 64 + 56]
    content = bytearray(GOOD)
    content[56:58] = (2).to_bytes(2, "little")
    content[64 + 56 : 64 + 112] = segment
    with pytest.raises(ElfError, match="overlap"):
        parse_elf(bytes(content))


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=6),
       length=st.integers(0, len(GOOD)))  # fmt: skip
def test_damaged_files_are_refused_or_loaded_within_regions(
    changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(GOOD)
    for offset, value in changes:
        content[offset] = value
    try:
        program = parse_elf(bytes(content[:length]))
    except ElfError:
        return
    memory = Memory()
    for segment in program.segments:
        memory.write(segment.address, segment.data)
        assert any(
            base <= segment.address and segment.address + segment.size <= base + size
            for base, size, _ in layout.REGIONS.values()
        )
