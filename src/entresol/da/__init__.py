"""Data availability: how a batch's bytes travel in blobs or calldata, and where blobs are kept.

May import rollup, machine, kernel and crypto; knows nothing of L1 transactions.
"""
