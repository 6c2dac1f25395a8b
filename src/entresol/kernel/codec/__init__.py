"""The batch codec's kernel half: entropy decoder, predictions from state, batch format.

`batch_codec.py` above drives them; `rollup/batch_encoder.py` uses the same predictions to encode.
The format is described in docs/protocol/batch-encoding.md.
"""
