"""Assembly to ELF files at the machine's addresses, with the distribution's cross compiler."""

import pathlib
import shutil
import subprocess

import pytest

from entresol.kernel import layout

COMPILER = "riscv64-unknown-elf-gcc"
EMULATOR = "qemu-riscv64"

needs_assembler = pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (Debian package gcc-riscv64-unknown-elf)",
)
needs_emulator = pytest.mark.skipif(
    shutil.which(EMULATOR) is None,
    reason=f"{EMULATOR} is not installed (Debian package qemu-user)",
)


def assemble(
    source: str, folder: pathlib.Path, name: str = "program", data: int = layout.STATE_BASE
) -> pathlib.Path:
    """ELF file with .text at CODE_BASE and .data at `data`; `_start` is the entry point."""
    text, out = folder / f"{name}.s", folder / f"{name}.elf"
    text.write_text(".text\n.globl _start\n_start:\n" + source + "\n")
    flags = f"-Wl,--no-relax,--build-id=none,-Ttext={layout.CODE_BASE:#x},-Tdata={data:#x}"
    subprocess.run(
        [COMPILER, "-march=rv64im", "-mabi=lp64", "-nostdlib", "-nostartfiles", "-static",
         "-mcmodel=medany", flags, str(text), "-o", str(out)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return out


def halt(code: str = "a0") -> str:
    """Instructions that halt with the value of a register."""
    return f"mv a0, {code}\nli a7, {layout.SYSTEM_CALLS['halt']}\necall\n"
