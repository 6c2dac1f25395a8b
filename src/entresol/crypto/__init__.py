"""Hashes, signatures, commitments and Merkle trees: bytes in, bytes out.

The lowest layer: it imports nothing of entresol.  Every compiled function has a plain Python twin
or a published vector beside it in the tests.  Two modules touch the outside, both once per
process and for reading only: `kzg` reads the public trusted setup, and `compile_cache` reads these
sources to name the folder of their compiled code.
"""
