"""From a signed message to a built batch: admission, one total order, blocks, disk, batches.

`admission.py` judges, `sequencer.py` orders and answers, `journal.py` keeps, `recovery.py` comes
back, `batch_builder.py` encodes and runs every batch in both ways beside it.  The sequencer runs
on one event loop and owns the live memory.  May import rollup, machine, kernel and crypto; knows
nothing of L1, blobs or the API.
"""
