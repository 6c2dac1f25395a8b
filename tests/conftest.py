"""Puts the repository root on the path and fixes how hypothesis runs for every suite.

The machines that run this are shared: a deadline per example would fail on load, not on a bug.
A failing example prints the blob that reproduces it.
"""

import pathlib
import sys

import hypothesis

ROOT = str(pathlib.Path(__file__).parent.parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

hypothesis.settings.register_profile(
    "entresol",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("entresol")
