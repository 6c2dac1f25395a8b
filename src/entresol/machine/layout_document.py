"""layout.py as a document: for other languages, for people, and for the program id.

The canonical form is the JSON of `describe_layout` with sorted keys and no spaces.
"""

import json
from typing import Any, Final

import numpy as np

from entresol.kernel import layout

_RECORDS: Final = (
    "DURABLE",
    "VOLATILE",
    "MESSAGE_HEADER",
    "OPERATION",
    "OWNER_OPERATION",
    "BLOCK_HEADER",
    "INBOX_ITEM",
    "PARAMS",
    "JOURNAL",
    "EVENT",
)


def describe_layout() -> dict[str, Any]:
    """Regions, system calls, named constants and every record with its offsets."""
    return {
        "address_bits": layout.ADDRESS_BITS,
        "leaf_bytes": layout.LEAF_BYTES,
        "encoding_version": layout.ENCODING_VERSION,
        "entry": layout.CODE_BASE,
        "regions": {
            name: {"base": base, "size": size, "access": access}
            for name, (base, size, access) in layout.REGIONS.items()
        },
        "system_calls": dict(layout.SYSTEM_CALLS),
        "constants": {
            name: value
            for name, value in sorted(vars(layout).items())
            if name.isupper() and type(value) is int and not name.startswith("_")
        },
        "records": {name: _describe(getattr(layout, name)) for name in _RECORDS},
    }


def canonical_layout() -> bytes:
    """The document's one byte form, which the program id commits to."""
    return json.dumps(describe_layout(), sort_keys=True, separators=(",", ":")).encode()


def _describe(item: np.dtype) -> dict[str, Any]:
    if item.subdtype is not None:
        element, shape = item.subdtype
        return {**_describe(element), "shape": list(shape)}
    if item.fields is None:
        return {"type": item.str.lstrip("<|"), "bytes": item.itemsize}
    members = {
        name: {"offset": int(offset), **_describe(member)}
        for name, (member, offset, *_) in item.fields.items()
    }
    return {"bytes": item.itemsize, "fields": members}
