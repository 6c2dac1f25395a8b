"""The node's API: JSON-RPC and binary frames over WebSocket, JSON-RPC over HTTP.

`server.py` listens, `connection.py` is one WebSocket, `rpc.py` turns bytes into calls of the
methods in `reads.py`, `writes.py` and `subscriptions.py`.  Runs on the sequencer's loop.
"""
