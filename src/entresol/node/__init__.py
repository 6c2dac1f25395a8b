"""The exchange node: one process that joins sequencer, batch builder, link to L1, history and API.

`node.py` wires everything from the frozen tree in `config.py`, and nothing else does.  `derive.py`
is the verifier: the same state from L1 alone.  May import every layer but client and cli.
"""
