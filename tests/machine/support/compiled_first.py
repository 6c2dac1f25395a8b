"""The sample kernel, after functions it uses, and others, were compiled in another order."""

from numba import types
from rejected_kernel import fine

fine.compile((types.int64,))

from sample_tables import weigh  # noqa: E402

weigh.compile((types.int64,))

from sample_kernel import run  # noqa: E402

__all__ = ["run"]
