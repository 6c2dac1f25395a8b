"""The decorator of the rollup's own compiled functions, which run natively only."""

from entresol.crypto import compile_cache

native_function = compile_cache.native_function_of("crypto", "kernel", "machine", "rollup")
"""Compile a function; what is kept of it depends on the sources of these packages."""
