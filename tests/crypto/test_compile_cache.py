import os
import subprocess
import sys

import pytest

from entresol.crypto import compile_cache


@pytest.fixture
def package(tmp_path, monkeypatch):
    for folder in ("crypto", "kernel"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text("x = 1\n")
    monkeypatch.setattr(compile_cache, "_PACKAGE", tmp_path)
    compile_cache.directory.cache_clear()
    yield tmp_path
    compile_cache.directory.cache_clear()


def name(*packages):
    compile_cache.directory.cache_clear()
    return compile_cache.directory(*packages)


def test_the_folder_follows_the_content_of_the_named_packages_only(package):
    crypto, both = name("crypto"), name("crypto", "kernel")
    (package / "kernel" / "one.py").write_text("x = 2\n")
    assert name("crypto") == crypto
    assert name("crypto", "kernel") != both
    (package / "crypto" / "two.py").write_text("")
    assert name("crypto") != crypto


def test_moving_text_between_files_changes_the_folder(package):
    before = name("crypto")
    (package / "crypto" / "one.py").write_text("")
    (package / "crypto" / "two.py").write_text("x = 1\n")
    assert name("crypto") != before


def test_the_same_content_gives_the_same_folder(package):
    before = name("crypto")
    (package / "crypto" / "one.py").write_text("x = 2\n")
    (package / "crypto" / "one.py").write_text("x = 1\n")
    assert name("crypto") == before


def test_the_cache_home_is_respected(package, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert name("crypto").startswith(str(tmp_path / "elsewhere" / "entresol"))


PROGRAM = """
from numba.core import event

with event.install_recorder("numba:run_pass") as recorder:
    from entresol.crypto import keccak, native_symbols, state_hash

    native_symbols.install()
    keccak.keccak256(b"")
    state_hash.hash_leaf(bytes(32))
print(len(recorder.buffer))
"""


def test_a_second_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    passes = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        passes.append(int(result.stdout))
    assert passes[0] > 0
    assert passes[1] == 0
