"""Built files kept in the user's cache folder, beside Numba's own, per content of the sources.

A folder's name is a digest of every source a file depends on (crypto/compile_cache.py), so a stale
file cannot be found; deleting the folder only costs time.
"""

import os
import pathlib
import tempfile

from entresol.crypto import compile_cache


def _folder() -> pathlib.Path:
    return pathlib.Path(compile_cache.directory("crypto", "kernel", "machine"))


def load(name: str) -> bytes | None:
    """Content of the kept file, or None if there is none."""
    try:
        return (_folder() / name).read_bytes()
    except FileNotFoundError:
        return None


def keep(name: str, content: bytes) -> None:
    """Keep a file; another process sees either nothing or all of it."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    pathlib.Path(temporary).replace(folder / name)
