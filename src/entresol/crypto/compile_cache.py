"""Where compiled code is kept: one folder per content of the sources it was compiled from.

Numba's own index looks at the decorated function's file only, so an edit of an intrinsic in
another file would silently run old code.  Here the folder's name is a digest of every source file
of the packages a function may draw on, so a stale entry cannot be found.  Numba itself keys
entries by processor and feature set inside the folder.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numba
from numba.core import config

INTERPRETED = bool(config.DISABLE_JIT)
"""True when nothing is compiled and every function runs as ordinary Python."""

CACHED = config.OPT != 0 and not INTERPRETED
"""Unoptimised code is only made by the image build, which must not leave it to others."""

_PACKAGE = pathlib.Path(__file__).parent.parent


@functools.cache
def directory(*packages: str) -> str:
    """Folder for code compiled from the sources of `packages` (names under `entresol`)."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((_PACKAGE / package).rglob("*.py")):
            name, content = str(path.relative_to(_PACKAGE)).encode(), path.read_bytes()
            digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    digest.update(f"{numba.__version__} {config.BOUNDSCHECK} {config.OPT}".encode())
    home = os.environ.get("XDG_CACHE_HOME")
    root = pathlib.Path(home) if home else pathlib.Path.home() / ".cache"
    return str(root / "entresol" / f"numba-{digest.hexdigest()[:16]}")


def _in_directory(folder: str, decorate: Callable[[], Any]) -> Any:
    # Numba reads the setting once, when a function is decorated; other packages set their own.
    before = config.CACHE_DIR
    try:
        if CACHED:
            config.CACHE_DIR = folder
        return decorate()
    finally:
        config.CACHE_DIR = before


def native_function_of(*packages: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile a function that draws on these packages and needs no interpreter lock."""
    folder = directory(*packages) if CACHED else ""

    def decorate(function: Callable[..., Any]) -> Any:
        return _in_directory(
            folder, lambda: numba.njit(cache=CACHED, nogil=True, error_model="numpy")(function)
        )

    return decorate


native_function = native_function_of("crypto")
"""Compile a function of this package; it runs without the interpreter lock."""

_CRYPTO_DIRECTORY = directory("crypto") if CACHED else ""


def native_callback(signature: object) -> Callable[[Callable[..., Any]], Any]:
    """Compile `function` as a C function of `signature`; `.address` is its native address."""

    def decorate(function: Callable[..., Any]) -> Any:
        return _in_directory(
            _CRYPTO_DIRECTORY,
            lambda: numba.cfunc(signature, cache=CACHED, error_model="numpy")(function),
        )

    return decorate
