"""Makes tests/machine/support importable: assembler, reference arithmetic, random programs."""

import pathlib
import sys

SUPPORT = str(pathlib.Path(__file__).parent / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)
