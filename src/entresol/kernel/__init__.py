"""The exchange rules, written once in a Numba subset of Python: integers and fixed records only.

`transition.py` is the whole of it on one page: operation < message < block < batch.  The same
functions run natively and, compiled by `machine`, as RV64IM instructions.  Imports crypto only.
"""
