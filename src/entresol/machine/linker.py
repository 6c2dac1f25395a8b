"""A RISC-V object to the bytes of CODE: entry shim, system-call stubs, text, constant tables.

General linkers write time, file names or relaxation choices into their output.  This one knows
the few relocations that the image build makes, places sections in one order and refuses all else,
so that equal kernels give equal bytes.  Relocations: RISC-V ELF psABI, chapter "Relocations".
"""

import io
from dataclasses import dataclass
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from entresol.kernel import layout
from entresol.machine import assembly, decode

STUBS: Final = {
    "entresol_keccak256": layout.SYSTEM_CALLS["keccak256"],
    "entresol_ecrecover": layout.SYSTEM_CALLS["ecrecover"],
}
"""External symbols of kernel code and the system calls that stand for them."""

ENTRY_SYMBOL: Final = "entresol_entry_"
"""Entry points are this and their index."""

SECTION_ALIGNMENT: Final = 64

_SHF_WRITE: Final = 1
_SHF_ALLOC: Final = 2
_SHF_EXECINSTR: Final = 4
_R_32, _R_64 = 1, 2
_R_BRANCH, _R_JAL, _R_CALL, _R_CALL_PLT = 16, 17, 18, 19
_R_PCREL_HI20, _R_PCREL_LO12_I, _R_PCREL_LO12_S = 23, 24, 25
_R_RELAX = 51


class LinkError(Exception):
    """The object holds something an image must not; the message names it."""


@dataclass(frozen=True, slots=True)
class _Relocation:
    offset: int
    kind: int
    symbol: int
    addend: int


def entry_shim() -> list[int]:
    """Start of the image: stack, call of the entry point, `halt(status)`.

    Numba's calling convention: a0 = where to put the result, a1 = where to put an exception; it
    returns 0 unless the function raised, which kernel code cannot.  `link` aims the call.
    """
    top = layout.SCRATCH_STACK_TOP
    return [
        assembly.lui(assembly.SP, assembly.upper(top)),
        assembly.addi(assembly.SP, assembly.SP, assembly.low(top) - 16),
        assembly.addi(assembly.A0, assembly.SP, 0),
        assembly.addi(assembly.A1, assembly.SP, 8),
        assembly.auipc(assembly.RA, 0),
        assembly.jump_register(assembly.RA, assembly.RA),
        assembly.branch_not_equal(assembly.A0, assembly.ZERO, 16),
        assembly.load_double(assembly.A0, 0, assembly.SP),
        assembly.addi(assembly.A7, assembly.ZERO, layout.SYSTEM_CALLS["halt"]),
        assembly.ECALL,
        assembly.UNIMPLEMENTED,
    ]


_CALL_WORD: Final = 4
"""Index of the shim's two call words."""


class _Image:
    """The image as it grows, and where each section and stub went."""

    def __init__(self, elf: ELFFile) -> None:
        self.elf = elf
        self.symbols = elf.get_section_by_name(".symtab")
        self.data = bytearray(assembly.to_bytes(entry_shim()))
        self.stubs: dict[str, int] = {}
        self.sections: dict[int, int] = {}
        for name, number in STUBS.items():
            self.stubs[name] = len(self.data)
            self.data += assembly.to_bytes(assembly.system_call_stub(number))

    def place(self) -> int:
        """Append the sections, text first; returns the offset just past the text."""
        text: list[tuple[str, int, Any]] = []
        tables: list[tuple[str, int, Any]] = []
        for index, section in enumerate(self.elf.iter_sections()):
            flags, size = section["sh_flags"], section["sh_size"]
            if not flags & _SHF_ALLOC or size == 0 or section.name.startswith(".eh_frame"):
                continue
            if flags & _SHF_WRITE:
                raise LinkError(
                    f"Section {section.name} of {size} bytes is writable; kernel code may not "
                    "raise, assert, or keep global arrays other than constants."
                )
            (text if flags & _SHF_EXECINSTR else tables).append((section.name, index, section))
        for _, index, section in sorted(text, key=_section_order):
            self._append(index, section)
        end = len(self.data)
        for _, index, section in sorted(tables, key=_section_order):
            self._append(index, section)
        if len(self.data) > layout.CODE_BYTES:
            raise LinkError(f"The image needs {len(self.data)} bytes of {layout.CODE_BYTES}.")
        return end

    def _append(self, index: int, section: Any) -> None:
        if section["sh_addralign"] > SECTION_ALIGNMENT:
            raise LinkError(f"Section {section.name} asks for an alignment above 64 bytes.")
        self.data += bytes(-len(self.data) % SECTION_ALIGNMENT)
        self.sections[index] = len(self.data)
        self.data += section.data()

    def address(self, symbol: Any) -> int:
        """Offset of a symbol within the image; stubs stand for the undefined ones."""
        section = symbol["st_shndx"]
        if section in self.sections:
            return self.sections[section] + int(symbol["st_value"])
        if section == "SHN_UNDEF" and symbol.name in self.stubs:
            return self.stubs[symbol.name]
        raise LinkError(
            f"Symbol '{symbol.name}' is not defined; kernel code may call only keccak256 and "
            "ecrecover (a runtime function means floats, division of wide integers or allocation)."
        )

    def relocations(self) -> list[_Relocation]:
        found = []
        for section in self.elf.iter_sections():
            if not section.name.startswith(".rela") or section["sh_info"] not in self.sections:
                continue
            start = self.sections[section["sh_info"]]
            for entry in section.iter_relocations():
                found.append(
                    _Relocation(
                        start + entry["r_offset"],
                        entry["r_info_type"],
                        entry["r_info_sym"],
                        entry["r_addend"],
                    )
                )
        return found

    def symbol(self, index: int) -> Any:
        return self.symbols.get_symbol(index)

    def or_into(self, offset: int, keep: int, bits: int) -> None:
        word = int.from_bytes(self.data[offset : offset + 4], "little") & keep | bits & 0xFFFF_FFFF
        self.data[offset : offset + 4] = word.to_bytes(4, "little")

    def set_call(self, offset: int, distance: int) -> None:
        """Fill an auipc and jalr pair."""
        self.or_into(offset, 0xFFF, assembly.upper(distance & 0xFFFF_FFFF))
        self.or_into(offset + 4, 0xF_FFFF, (distance & 0xFFF) << 20)


def _section_order(item: tuple[str, int, Any]) -> tuple[bool, str, int]:
    name, index, _ = item
    return (name != ".text", name, index)


def _relocate(image: _Image) -> None:
    relocations = [item for item in image.relocations() if item.kind != _R_RELAX]
    high: dict[int, int] = {}
    for item in relocations:
        if item.kind == _R_PCREL_HI20:
            distance = image.address(image.symbol(item.symbol)) + item.addend - item.offset
            high[item.offset] = distance
            image.or_into(item.offset, 0xFFF, assembly.upper(distance & 0xFFFF_FFFF))
    for item in relocations:
        if item.kind != _R_PCREL_HI20:
            _apply(image, item, high)


def _apply(image: _Image, item: _Relocation, high: dict[int, int]) -> None:
    target = image.address(image.symbol(item.symbol)) + item.addend
    distance = target - item.offset
    if item.kind == _R_PCREL_LO12_I:
        image.or_into(item.offset, 0xF_FFFF, (high[target] & 0xFFF) << 20)
    elif item.kind == _R_PCREL_LO12_S:
        value = high[target]
        image.or_into(item.offset, 0x1FF_F07F, (value >> 5 & 0x7F) << 25 | (value & 31) << 7)
    elif item.kind in (_R_CALL, _R_CALL_PLT):
        image.set_call(item.offset, distance)
    elif item.kind == _R_BRANCH:
        _check_reach(distance, 13)
        image.or_into(item.offset, 0x1FF_F07F, assembly.branch_immediate(distance))
    elif item.kind == _R_JAL:
        _check_reach(distance, 21)
        image.or_into(item.offset, 0xFFF, assembly.jump_immediate(distance))
    elif item.kind in (_R_32, _R_64):
        raise LinkError(
            "The object holds an absolute address; kernel code may not raise, assert, or keep "
            "tables of pointers."
        )
    else:
        raise LinkError(f"Relocation type {item.kind} is not one the image build makes.")


def _check_reach(distance: int, bits: int) -> None:
    if not -(1 << bits - 1) <= distance < 1 << bits - 1:
        raise LinkError(f"A jump over {distance} bytes does not fit its instruction.")


def _check_instructions(data: bytes, end: int) -> None:
    shim = len(entry_shim())
    for index, word in enumerate(decode.code_words(data[:end])):
        instruction = decode.decode(word, layout.CODE_BASE + 4 * index)
        if instruction.operation == decode.UNKNOWN and index >= shim and word != 0:
            raise LinkError(f"Word {word:#010x} at offset {4 * index:#x} is not RV64IM.")


def link(compiled: bytes, entry_symbol: str) -> bytes:
    """Bytes of CODE for an object whose `entry_symbol` is the entry point; execution starts at
    CODE_BASE.  Raises LinkError."""
    try:
        elf = ELFFile(io.BytesIO(compiled))
    except ELFError as error:
        raise LinkError(f"The build process left no object file: {error}.") from error
    image = _Image(elf)
    end = image.place()
    _relocate(image)
    entries = image.symbols.get_symbol_by_name(entry_symbol)
    if not entries:
        raise LinkError(f"The object does not define '{entry_symbol}'.")
    image.set_call(4 * _CALL_WORD, image.address(entries[0]) - 4 * _CALL_WORD)
    _check_instructions(bytes(image.data), end)
    return bytes(image.data) + bytes(-len(image.data) % 8)
