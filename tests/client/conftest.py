"""Paths that several client tests read."""

from pathlib import Path

import pytest

RECORDING = Path(__file__).resolve().parents[2].parent / "shared/data/btcusdt_20240808.gz"


@pytest.fixture(scope="session")
def recording() -> Path:
    if not RECORDING.exists():
        pytest.skip(f"the recording is not at {RECORDING}")
    return RECORDING
