"""The kernel's image, built from source in a process of its own.

Equal sources give equal bytes on every machine: the IR is taken unoptimised and for a generic
processor (lowering.py), and our own linker writes the image (linker.py).  This module and
artifacts.py are the machine package's named exception to "no I/O".
"""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from entresol.machine import artifacts
from entresol.machine.linker import ENTRY_SYMBOL, link

KERNEL_ENTRY = "entresol.kernel.transition:apply_batch"
_KEPT_NAME = f"kernel-image-python-{sys.version_info.major}.{sys.version_info.minor}.bin"
"""Numba compiles bytecode, so another Python minor version may give another image."""


class BuildError(Exception):
    """The image could not be built; the message is the build process's own."""


def build_code(
    entries: Sequence[str] = (KERNEL_ENTRY,),
    search_path: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> bytes:
    """Bytes of CODE for kernel functions named "module:function"; the first is where it starts.

    `search_path` goes before this process's own module path, `environment` over its variables.
    """
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*search_path, *(path for path in sys.path if path)]),
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        **(environment or {}),
        "NUMBA_OPT": "0",
        "NUMBA_BOUNDSCHECK": "0",
        "NUMBA_DISABLE_JIT": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        compiled = pathlib.Path(folder) / "image.o"
        command = [sys.executable, "-m", "entresol.machine.lowering", str(compiled), *entries]
        result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"The image build failed:\n{result.stderr.strip()}")
        return link(compiled.read_bytes(), f"{ENTRY_SYMBOL}0")


def load_kernel_code() -> bytes:
    """Bytes of CODE for the kernel of this source tree: built once per source, then kept."""
    code = artifacts.load(_KEPT_NAME)
    if code is None:
        code = build_code()
        artifacts.keep(_KEPT_NAME, code)
    return code
