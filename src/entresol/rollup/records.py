"""Bytes of one fixed record of kernel/layout.py from named integers, and back, strictly."""

from typing import Any

import numpy as np

from entresol.rollup.errors import RollupDataError

RecordError = type[RollupDataError]


def encode_record(dtype: np.dtype, values: dict[str, Any], error: RecordError) -> bytes:
    """Encode `values` (integers, or raw bytes for array fields) as one record, little-endian.

    Raises `error` when an integer does not fit its field or raw bytes have another length.
    """
    out = bytearray(dtype.itemsize)
    fields: Any = dtype.fields
    for name, value in values.items():
        base, offset = fields[name][0], fields[name][1]
        if isinstance(value, bytes):
            if len(value) != base.itemsize:
                raise error(f"{name} must be {base.itemsize} bytes, not {len(value)}")
            out[offset : offset + base.itemsize] = value
            continue
        try:
            raw = int(value).to_bytes(base.itemsize, "little", signed=base.kind == "i")
        except OverflowError:
            raise error(f"{name} = {value} does not fit {base.itemsize * 8} bits") from None
        out[offset : offset + base.itemsize] = raw
    return bytes(out)


def decode_record(dtype: np.dtype, data: bytes, error: RecordError) -> dict[str, Any]:
    """Decode one record: integers for scalar fields, raw bytes for array fields.

    Raises `error` when the length is wrong or a byte outside the named fields is not zero.
    """
    if len(data) != dtype.itemsize:
        raise error(f"a record of {dtype.itemsize} bytes was expected, not {len(data)} bytes")
    values: dict[str, Any] = {}
    named = bytearray(data)
    fields: Any = dtype.fields
    for name in fields:
        base, offset = fields[name][:2]
        raw = data[offset : offset + base.itemsize]
        named[offset : offset + base.itemsize] = bytes(base.itemsize)
        if base.subdtype is None:
            values[name] = int.from_bytes(raw, "little", signed=base.kind == "i")
        else:
            values[name] = raw
    if any(named):
        raise error("a reserved byte is not zero")
    return values
