"""The hash of the state tree: leaves of 32 bytes, nodes of two digests, one hash of two regions.

    H_domain(x) = first eight elements of P(x) + x + constant(domain)

P is Poseidon of width 16 over KoalaBear (ADR 0002); adding x back makes it one-way.  A leaf's x
is its sixteen little-endian 16-bit words; a node's and a region's x is the left digest, then the
right one.  Digests are bytes here (`field.encode_digest`); the batch functions keep eight 32-bit
words each.
"""

import ctypes
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import binding
from numba import types

from entresol.crypto import native_memory
from entresol.crypto.compile_cache import INTERPRETED, native_callback, native_function
from entresol.crypto.field import (
    DIGEST_ELEMENTS,
    PRIME,
    Digest,
    decode_digest,
    encode_digest,
)
from entresol.crypto.keccak import keccak256
from entresol.crypto.poseidon import WIDTH, permute_plain
from entresol.crypto.poseidon_vectors import compress_block

LEAF_BYTES: Final = 32
BLOCK: Final = 16
"""Rows that are hashed together."""

LEAF: Final = 0
NODE: Final = 1
REGION: Final = 2
"""Domains: what is being hashed."""


def _domain_constant(name: str) -> Digest:
    """Eight words of keccak256 of a sentence, each reduced modulo p."""
    words = struct.unpack(">8I", keccak256(f"Entresol state hash: {name}".encode()))
    return tuple(word % PRIME for word in words)


DOMAIN_CONSTANTS: Final = tuple(_domain_constant(name) for name in ("leaf", "node", "region"))
"""DOMAIN_CONSTANTS[domain]: the eight elements added last."""


class LeafError(ValueError):
    """Leaf data of a wrong length or shape."""


# --- the plain twin ---------------------------------------------------------------------------


def compress_plain(domain: int, elements: Sequence[int]) -> Digest:
    """H_domain of sixteen elements, in plain Python."""
    permuted = permute_plain(elements)
    return tuple(
        (permuted[lane] + elements[lane] + DOMAIN_CONSTANTS[domain][lane]) % PRIME
        for lane in range(DIGEST_ELEMENTS)
    )


def hash_leaf_plain(leaf: bytes) -> bytes:
    """`hash_leaf` in plain Python."""
    return encode_digest(compress_plain(LEAF, _leaf_elements(leaf)))


def hash_node_plain(left: bytes, right: bytes) -> bytes:
    """`hash_node` in plain Python."""
    return encode_digest(compress_plain(NODE, decode_digest(left) + decode_digest(right)))


def hash_region_plain(left: bytes, right: bytes) -> bytes:
    """`hash_region` in plain Python."""
    return encode_digest(compress_plain(REGION, decode_digest(left) + decode_digest(right)))


def _leaf_elements(leaf: bytes) -> tuple[int, ...]:
    if len(leaf) != LEAF_BYTES:
        raise LeafError(f"A leaf has {LEAF_BYTES} bytes, not {len(leaf)}.")
    return struct.unpack("<16H", leaf)


# --- one block of sixteen rows ----------------------------------------------------------------

COMPRESS_SYMBOL: Final = "entresol_state_hash"


def _compress_rows_plain(rows: int, domain: int) -> None:
    block = np.ctypeslib.as_array((ctypes.c_uint32 * (BLOCK * WIDTH)).from_address(int(rows)))
    for row in block.reshape(BLOCK, WIDTH):
        digest = compress_plain(domain, [int(word) for word in row])
        row[:DIGEST_ELEMENTS] = digest
        row[DIGEST_ELEMENTS:] = 0


# A global, not a variable of `_bind`: Numba never finds a closure over an intrinsic in its cache.
_compress = compress_block(DOMAIN_CONSTANTS)


def _bind() -> Any:
    if INTERPRETED:
        return _compress_rows_plain

    @native_callback(types.void(types.int64, types.int64))
    def entresol_state_hash(rows: int, domain: int) -> None:
        _compress(rows, domain)

    # By symbol, so that the permutation is compiled once and not again inside every caller.
    binding.add_symbol(COMPRESS_SYMBOL, entresol_state_hash.address)
    return types.ExternalFunction(COMPRESS_SYMBOL, types.void(types.int64, types.int64))


compress_rows = _bind()
"""`compress_rows(address, domain)`, for compiled code: sixteen rows of sixteen canonical words at
a 64-aligned address become digests, in the first eight words of each row; the rest is zero."""

block_space = native_memory.stack_space(4 * WIDTH * BLOCK)
"""`block_space()` -> address of room for one block of rows, for compiled code."""


# --- batches ----------------------------------------------------------------------------------


@native_function
def _hash_rows(source: int, count: int, out: int, domain: int) -> None:
    """Hash `count` inputs lying at `source`, 32 bytes each (LEAF) or 64, to 32 bytes each."""
    rows = block_space()
    stride = 32 if domain == LEAF else 64
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        for row in range(size):
            data = source + stride * (start + row)
            if domain == LEAF:
                native_memory.widen_row(data, rows + 64 * row)
            else:
                for at in range(0, 64, 8):
                    native_memory.store_u64(rows + 64 * row + at, native_memory.load_u64(data + at))
        compress_rows(rows, domain)
        for row in range(size):
            for at in range(0, 32, 8):
                word = native_memory.load_u64(rows + 64 * row + at)
                native_memory.store_u64(out + 32 * (start + row) + at, word)


Words = npt.NDArray[np.uint32]
"""Digests as 32-bit words, shape (count, 8)."""


def _hash_batch(source: npt.NDArray[Any], count: int, domain: int) -> Words:
    out = np.empty((count, DIGEST_ELEMENTS), np.uint32)
    if INTERPRETED:
        for index in range(count):
            row = source[index].view(np.uint16) if domain == LEAF else source[index]
            out[index] = compress_plain(domain, [int(word) for word in row.reshape(-1)])
    else:
        _hash_rows(source.ctypes.data, count, out.ctypes.data, domain)
    return out


def hash_leaves(leaves: npt.NDArray[np.uint8]) -> Words:
    """Digests of leaves, shape (count, 32) bytes -> (count, 8) words."""
    if leaves.ndim != 2 or leaves.shape[1] != LEAF_BYTES or leaves.dtype != np.uint8:
        raise LeafError("Give leaves as bytes of shape (count, 32).")
    return _hash_batch(np.ascontiguousarray(leaves), len(leaves), LEAF)


def hash_nodes(digests: Words, domain: int = NODE) -> Words:
    """Parents of neighbouring digests, shape (2 count, 8) words -> (count, 8) words.

    Every word must be below p.
    """
    if digests.ndim != 2 or digests.shape[1] != DIGEST_ELEMENTS or digests.dtype != np.uint32:
        raise LeafError("Give digests as 32-bit words of shape (2 count, 8).")
    if len(digests) % 2 or domain not in (NODE, REGION):
        raise LeafError("Give an even number of digests and the domain NODE or REGION.")
    pairs = np.ascontiguousarray(digests).reshape(-1, 2 * DIGEST_ELEMENTS)
    return _hash_batch(pairs, len(pairs), domain)


def digest_to_words(digest: bytes) -> Words:
    """A digest as words, shape (1, 8); raises DigestError unless it is canonical."""
    return np.array([decode_digest(digest)], np.uint32)


def words_to_digest(words: npt.NDArray[np.uint32]) -> bytes:
    """Eight words as a digest; raises DigestError unless each is below p."""
    return encode_digest([int(word) for word in words.reshape(-1)])


# --- single hashes ----------------------------------------------------------------------------


def hash_leaf(leaf: bytes) -> bytes:
    """Digest of a 32-byte leaf; raises LeafError for another length."""
    _leaf_elements(leaf)
    return words_to_digest(hash_leaves(np.frombuffer(leaf, np.uint8).reshape(1, LEAF_BYTES)))


def _hash_pair(left: bytes, right: bytes, domain: int) -> bytes:
    pair = np.concatenate((digest_to_words(left), digest_to_words(right)))
    return words_to_digest(hash_nodes(pair, domain))


def hash_node(left: bytes, right: bytes) -> bytes:
    """Digest of a node's two children; raises DigestError unless both are canonical."""
    return _hash_pair(left, right, NODE)


def hash_region(left: bytes, right: bytes) -> bytes:
    """Digest of two region roots: the state root is hash_region(durable root, volatile root)."""
    return _hash_pair(left, right, REGION)
