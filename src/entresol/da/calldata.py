"""Batches as calldata: chunks of 1,024 bytes under a keccak Merkle root that L1 keeps.

A leaf is the keccak256 of a chunk, the last chunk as long as what is left; leaves that have no
chunk are zero; a node is keccak256(left || right).  One chunk and seven siblings prove a byte.
"""

from collections.abc import Sequence

from entresol.crypto import merkle
from entresol.crypto.keccak import keccak256
from entresol.da.errors import ChunkError
from entresol.rollup.limits import CALLDATA_CHUNK_BYTES as CHUNK_BYTES
from entresol.rollup.limits import CALLDATA_CHUNK_DEPTH as CHUNK_DEPTH
from entresol.rollup.limits import MAX_CALLDATA_BATCH_BYTES as MAX_CALLDATA_BYTES


def split(data: bytes) -> list[bytes]:
    """Chunks of `data`, all full but the last; raises ChunkError for none or too many bytes."""
    if not 0 < len(data) <= MAX_CALLDATA_BYTES:
        raise ChunkError(
            f"a batch in calldata has 1 to {MAX_CALLDATA_BYTES} bytes, not {len(data)}"
        )
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def chunk_root(data: bytes) -> bytes:
    """The root that L1 computes and keeps for `data`."""
    return merkle.merkle_root([keccak256(chunk) for chunk in split(data)], CHUNK_DEPTH)


def prove_chunk(data: bytes, index: int) -> tuple[bytes, list[bytes]]:
    """Chunk `index` of `data` and its siblings, lowest first; raises ChunkError if it has none."""
    chunks = split(data)
    if not 0 <= index < len(chunks):
        raise ChunkError(f"{len(data)} bytes have no chunk {index}")
    leaves = [keccak256(chunk) for chunk in chunks]
    return chunks[index], merkle.merkle_proof(leaves, index, CHUNK_DEPTH)


def verify_chunk(root: bytes, index: int, chunk: bytes, proof: Sequence[bytes]) -> bool:
    """True when `chunk` is number `index` under `root`."""
    if len(proof) != CHUNK_DEPTH or not 0 <= index < 1 << CHUNK_DEPTH:
        return False
    if not 0 < len(chunk) <= CHUNK_BYTES or any(len(sibling) != 32 for sibling in proof):
        return False
    return merkle.root_from_proof(keccak256(chunk), index, proof) == root
