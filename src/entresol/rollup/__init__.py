"""The rollup's data: messages, blocks, batches, claims, inbox items, withdrawals, derivation.

Pure functions over bytes and integers: no I/O, clock, randomness or floats.  Every decoder is
strict (one encoding per value) and raises a `RollupDataError` for bytes that no honest peer
sends.  May import machine, kernel and crypto.
"""
