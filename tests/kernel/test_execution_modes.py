"""The same source compiled, compiled with bounds checks, and as plain Python: the same bytes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from tests.kernel.scenario import run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled():
    result = run()
    assert result["status"] == "0"
    assert result["live"] == result["batch"]
    return result


@pytest.mark.timeout(900)
@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_another_way_to_run_gives_the_same_bytes(compiled, setting):
    """An index out of bounds raises under NUMBA_BOUNDSCHECK; a warning is an error in both."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.kernel.scenario"],
        cwd=ROOT,
        env={**os.environ, setting: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2_000:]
    assert json.loads(finished.stdout) == compiled
