"""Static RV64 ELF files in and out of the machine's memory.

The reader takes untrusted files: every field it uses is checked, and a file that does not fit the
machine raises ElfError with the reason.  Format: System V ABI, ELF-64 object file format.
"""

import itertools
import pathlib
import struct
from dataclasses import dataclass
from typing import Final

from entresol.kernel import layout
from entresol.machine.memory import Memory

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_LITTLE_ENDIAN: Final = 1
_EXECUTABLE: Final = 2
_RISCV: Final = 243
_LOAD, _DYNAMIC, _INTERPRETER, _THREAD_LOCAL = 1, 2, 3, 7
_MAXIMUM_SEGMENTS: Final = 256
_FLAGS: Final = {"r": 4, "w": 2, "x": 1}


class ElfError(ValueError):
    """The file is not a program that this machine can load."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes at a machine address; the rest of `size` is zero."""

    address: int
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Program:
    """What a file puts into memory, and where it starts."""

    entry: int
    segments: tuple[Segment, ...]


def parse_elf(content: bytes) -> Program:
    """The loadable parts of a static RV64 executable; raises ElfError."""
    entry, table, count = _parse_header(content)
    segments: list[Segment] = []
    for index in range(count):
        kind, _, offset, address, _, file_size, size, _ = _SEGMENT.unpack_from(
            content, table + index * _SEGMENT.size
        )
        if kind in (_DYNAMIC, _INTERPRETER):
            raise ElfError("The file is dynamically linked; link it with -static.")
        if kind == _THREAD_LOCAL:
            raise ElfError("The file has thread-local storage, which the machine does not have.")
        if kind != _LOAD or size == 0:
            continue
        if file_size > size or offset + file_size > len(content):
            raise ElfError(f"Program header {index} reaches beyond the file; the file is damaged.")
        data = content[offset : offset + file_size]
        headers = table + count * _SEGMENT.size if offset == 0 else 0
        segments.append(_without_headers(Segment(address, data, size), headers))
    _check_placement(segments)
    if not segments:
        raise ElfError("The file has nothing to load; it needs at least one LOAD program header.")
    return Program(entry, tuple(segments))


def load_elf(path: pathlib.Path | str, memory: Memory) -> int:
    """Load a file at the addresses of its program headers; returns the entry point.

    The memory should be new: zero-initialised parts are not cleared.  Raises ElfError, OSError.
    """
    program = parse_elf(pathlib.Path(path).read_bytes())
    for segment in program.segments:
        memory.write(segment.address, segment.data)
    return program.entry


def build_elf(code: bytes, entry: int) -> bytes:
    """A static RV64 executable whose one segment is `code` at CODE_BASE."""
    offset = 4096
    identification = _MAGIC + bytes([_CLASS_64, _LITTLE_ENDIAN, 1]) + bytes(9)
    header = _HEADER.pack(
        identification, _EXECUTABLE, _RISCV, 1, entry, _HEADER.size, 0, 0,
        _HEADER.size, _SEGMENT.size, 1, 64, 0, 0,
    )  # fmt: skip
    segment = _SEGMENT.pack(
        _LOAD, _FLAGS["r"] | _FLAGS["x"], offset, layout.CODE_BASE, layout.CODE_BASE,
        len(code), len(code), offset,
    )  # fmt: skip
    return (header + segment).ljust(offset, b"\0") + code


def _parse_header(content: bytes) -> tuple[int, int, int]:
    """(entry, offset of the program headers, their number)."""
    if len(content) < _HEADER.size or content[:4] != _MAGIC:
        raise ElfError("The file is not an ELF file.")
    fields = _HEADER.unpack_from(content)
    identification, kind, machine = fields[:3]
    if identification[4] != _CLASS_64 or identification[5] != _LITTLE_ENDIAN:
        raise ElfError("The file is not 64-bit little-endian; compile for rv64im.")
    if machine != _RISCV:
        raise ElfError(f"The file is for ELF machine {machine}, not for RISC-V (243).")
    if kind != _EXECUTABLE:
        raise ElfError("The file is not a static executable; link it with -static, not as PIE.")
    entry, table, segment_bytes, count = fields[4], fields[5], fields[9], fields[10]
    if count == 0 or count > _MAXIMUM_SEGMENTS or segment_bytes != _SEGMENT.size:
        raise ElfError("The file has no usable program headers.")
    if table + count * _SEGMENT.size > len(content):
        raise ElfError("The program headers reach beyond the file; the file is damaged.")
    return entry, table, count


def _without_headers(segment: Segment, headers: int) -> Segment:
    """The segment from its region's base on, if all before it is the file's own headers.

    Linkers put the ELF header into the page below the text; that page is no part of a program.
    """
    if headers == 0 or _region_of(segment.address, 1) is not None:
        return segment
    for base, _, _ in layout.REGIONS.values():
        skipped = base - segment.address
        if headers <= skipped < len(segment.data) and not any(segment.data[headers:skipped]):
            return Segment(base, segment.data[skipped:], segment.size - skipped)
    return segment


def _region_of(address: int, size: int) -> str | None:
    for name, (base, length, _) in layout.REGIONS.items():
        if base <= address and address + size <= base + length:
            return name
    return None


def _check_placement(segments: list[Segment]) -> None:
    for segment in segments:
        if _region_of(segment.address, segment.size) is None:
            raise ElfError(
                f"The segment of {segment.size} bytes at {segment.address:#x} lies in no region "
                "of the machine; `entresol machine layout` lists them."
            )
    ordered = sorted(segments, key=lambda segment: segment.address)
    for lower, upper in itertools.pairwise(ordered):
        if lower.address + lower.size > upper.address:
            raise ElfError(f"Two segments overlap at {upper.address:#x}.")
