"""The provable machine: kernel functions as RV64IM code, and what runs, compares and hashes it.

`image.py` names the program, `execute.py` runs one batch natively and in the machine and demands
the same bytes, `state_tree.py` is the state root.  Imports kernel and crypto.
"""
