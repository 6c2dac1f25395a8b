"""Puts the repository root on the path, so that tests share `tests.twin` and `benchmarks`."""

import pathlib
import sys

ROOT = str(pathlib.Path(__file__).parent.parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
