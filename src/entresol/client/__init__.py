"""The exchange from the outside: the SDK, keys, quoting, and recorded or generated order flow.

`exchange.py` is the SDK (`synchronous.py` without a loop); `bridge.py` moves money on L1;
`local_venue.py` is a venue without node and L1, for measurements.  Knows nothing of the node's
inside: it speaks the API.  May import settlement, sequencing (receipts, and the execution that
`local_venue.py` runs) and what lies below; not node.
"""
