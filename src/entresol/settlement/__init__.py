"""L1: the contracts, their deployment, and the drivers that post, claim, read and withdraw.

`view.py` mirrors the rollup as L1 tells it; batcher, proposer and reader keep no truth of their
own beside it.  Synchronous: threads belong to the node.  May import rollup, machine, kernel and
crypto; neither sequencing nor da.
"""
