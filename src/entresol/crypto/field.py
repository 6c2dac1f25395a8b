"""KoalaBear, the field of the state hash: p = 2^31 - 2^24 + 1.

Elements are Python integers in [0, p) here; `field_vectors` holds sixteen in a vector register.
A digest is eight elements; its 32-byte form is 4 bytes big-endian each, all below p.
"""

import struct
from collections.abc import Sequence
from typing import Final

PRIME: Final = 2**31 - 2**24 + 1
ELEMENT_BITS: Final = 31

MONTGOMERY_RADIX: Final = 1 << 32
"""Dividing by it modulo p is what the compiled reduction does."""

MONTGOMERY_INVERSE: Final = pow(PRIME, -1, MONTGOMERY_RADIX)
"""1 / p modulo 2^32."""

DIGEST_ELEMENTS: Final = 8
DIGEST_BYTES: Final = 4 * DIGEST_ELEMENTS

Digest = tuple[int, ...]
"""Eight elements."""


class DigestError(ValueError):
    """Bytes that are not the canonical form of a digest."""


def inverse(element: int) -> int:
    """1 / element; raises ZeroDivisionError for zero."""
    if element % PRIME == 0:
        raise ZeroDivisionError("Zero has no inverse.")
    return pow(element, PRIME - 2, PRIME)


def encode_digest(digest: Sequence[int]) -> bytes:
    """The 32-byte form; raises DigestError unless eight elements in [0, p) are given."""
    if len(digest) != DIGEST_ELEMENTS or not all(0 <= element < PRIME for element in digest):
        raise DigestError("A digest is eight elements, each at least 0 and below p.")
    return struct.pack(">8I", *digest)


def decode_digest(data: bytes) -> Digest:
    """The elements of a 32-byte form; raises DigestError if one is not below p."""
    if len(data) != DIGEST_BYTES:
        raise DigestError(f"A digest has {DIGEST_BYTES} bytes, not {len(data)}.")
    digest = struct.unpack(">8I", data)
    if max(digest) >= PRIME:
        raise DigestError("A digest's elements must be below p; this one is not canonical.")
    return digest
