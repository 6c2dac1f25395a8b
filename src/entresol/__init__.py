"""Entresol: a derivatives exchange that runs as an Ethereum layer two.

The layers, from the ground up, are crypto, kernel, machine, rollup, proofs, then the edges
(sequencing, settlement, da), then node and client, then cli.  Imports point down only.
"""
