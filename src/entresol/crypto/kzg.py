"""KZG commitments and proofs for blobs (EIP-4844, EIP-7594), on Ethereum's public setup.

The ceremony's result is public data that the pinned eth-account ships; it is read once, on first
use, and its digest is checked, so that no other setup can slip in.  This is the one place where
this package reads a file.
"""

import functools
import hashlib
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Final

import ckzg

SCALAR_FIELD: Final = 0x73EDA753_299D7D48_3339D808_09A1D805_53BDA402_FFFE5BFE_FFFFFFFF_00000001
"""Order of the BLS12-381 scalar field; a blob is 4,096 big-endian elements below it."""

FIELD_ELEMENTS_PER_BLOB: Final = 4096
BLOB_BYTES: Final = 32 * FIELD_ELEMENTS_PER_BLOB
COMMITMENT_BYTES: Final = 48
PROOF_BYTES: Final = 48
CELLS_PER_BLOB: Final = 128
VERSIONED_HASH_PREFIX: Final = b"\x01"

SETUP_SHA256: Final = "d39b9f2d047cc9dca2de58f264b6a09448ccd34db967881a6713eacacf0f26b7"
"""Of the ceremony's output in the text form that c-kzg-4844 reads."""

_SETUP_PATH: Final = ("typed_transactions", "blob_transactions", "kzg_trusted_setup.txt")
_PRECOMPUTE: Final = 0
"""c-kzg's table size: 0 loads fastest; cell proofs are made a few times a minute."""


class KzgError(ValueError):
    """A blob, commitment, point or proof that is malformed."""


class SetupError(Exception):
    """The trusted setup is missing or is not the ceremony's."""


@functools.cache
def _setup() -> object:
    package = importlib.util.find_spec("eth_account")
    if package is None or package.origin is None:
        raise SetupError("Install eth-account: it ships the KZG trusted setup.")
    path = pathlib.Path(package.origin).parent.joinpath(*_SETUP_PATH)
    if not path.is_file():
        raise SetupError("This eth-account ships no KZG trusted setup; install the pinned version.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SETUP_SHA256:
        raise SetupError("The KZG trusted setup is not Ethereum's; reinstall eth-account.")
    return ckzg.load_trusted_setup(str(path), _PRECOMPUTE)


def _check(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise KzgError(f"A {name} has {size} bytes, not {len(value)}.")


def _check_point(name: str, value: bytes) -> None:
    _check(name, value, 32)
    if int.from_bytes(value, "big") >= SCALAR_FIELD:
        raise KzgError(f"A {name} is below the BLS12-381 scalar field's order.")


def blob_to_commitment(blob: bytes) -> bytes:
    """The 48-byte commitment; raises KzgError if an element is not below SCALAR_FIELD."""
    _check("blob", blob, BLOB_BYTES)
    try:
        return ckzg.blob_to_kzg_commitment(blob, _setup())
    except RuntimeError as error:
        raise KzgError("A blob element is not below the scalar field's order.") from error


def versioned_hash(commitment: bytes) -> bytes:
    """EIP-4844: 0x01 and the last 31 bytes of the commitment's SHA-256."""
    _check("commitment", commitment, COMMITMENT_BYTES)
    return VERSIONED_HASH_PREFIX + hashlib.sha256(commitment).digest()[1:]


def compute_cell_proofs(blob: bytes) -> list[bytes]:
    """EIP-7594: the 128 cell proofs that a blob transaction carries since Fusaka."""
    _check("blob", blob, BLOB_BYTES)
    try:
        _, proofs = ckzg.compute_cells_and_kzg_proofs(blob, _setup())
    except RuntimeError as error:
        raise KzgError("A blob element is not below the scalar field's order.") from error
    return list(proofs)


def verify_cell_proofs(blob: bytes, commitment: bytes, proofs: Sequence[bytes]) -> bool:
    """Do all 128 cell proofs of `blob` hold against `commitment`?"""
    _check("blob", blob, BLOB_BYTES)
    _check("commitment", commitment, COMMITMENT_BYTES)
    if len(proofs) != CELLS_PER_BLOB:
        raise KzgError(f"A blob has {CELLS_PER_BLOB} cell proofs, not {len(proofs)}.")
    for proof in proofs:
        _check("proof", proof, PROOF_BYTES)
    try:
        cells = ckzg.compute_cells(blob, _setup())
        return bool(
            ckzg.verify_cell_kzg_proof_batch(
                [commitment] * CELLS_PER_BLOB, list(range(CELLS_PER_BLOB)), cells, list(proofs),
                _setup(),
            )
        )  # fmt: skip
    except RuntimeError:
        return False


def compute_blob_proof(blob: bytes, commitment: bytes) -> bytes:
    """EIP-4844: the proof that ties a whole blob to its commitment."""
    _check("blob", blob, BLOB_BYTES)
    _check("commitment", commitment, COMMITMENT_BYTES)
    try:
        return ckzg.compute_blob_kzg_proof(blob, commitment, _setup())
    except RuntimeError as error:
        raise KzgError("The blob or its commitment is malformed.") from error


def verify_blob_proof(blob: bytes, commitment: bytes, proof: bytes) -> bool:
    """Does `proof` tie `blob` to `commitment`?"""
    _check("blob", blob, BLOB_BYTES)
    _check("commitment", commitment, COMMITMENT_BYTES)
    _check("proof", proof, PROOF_BYTES)
    try:
        return bool(ckzg.verify_blob_kzg_proof(blob, commitment, proof, _setup()))
    except RuntimeError:
        return False


def open_at(blob: bytes, z: bytes) -> tuple[bytes, bytes]:
    """(proof, y): the blob's polynomial evaluated at `z`, 32 big-endian bytes, as y with proof."""
    _check("blob", blob, BLOB_BYTES)
    _check_point("point z", z)
    try:
        proof, y = ckzg.compute_kzg_proof(blob, z, _setup())
    except RuntimeError as error:
        raise KzgError("A blob element is not below the scalar field's order.") from error
    return proof, y


def verify_opening(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bool:
    """Does the committed polynomial take `y` at `z`? What the point-evaluation precompile says."""
    _check("commitment", commitment, COMMITMENT_BYTES)
    _check("proof", proof, PROOF_BYTES)
    _check("point z", z, 32)
    _check("value y", y, 32)
    try:
        return bool(ckzg.verify_kzg_proof(commitment, z, y, proof, _setup()))
    except RuntimeError:
        return False


def precompile_input(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bytes:
    """The 192 bytes that the point-evaluation precompile at address 0x0a takes."""
    for name, value, size in (
        ("commitment", commitment, COMMITMENT_BYTES),
        ("proof", proof, PROOF_BYTES),
        ("point z", z, 32),
        ("value y", y, 32),
    ):
        _check(name, value, size)
    return versioned_hash(commitment) + z + y + commitment + proof


@functools.cache
def roots_of_unity() -> tuple[int, ...]:
    """The evaluation domain in blob order: element i of a blob is the value at root i.

    Bit-reversed powers of 7^((order - 1) / 4096), as EIP-4844 lays blobs out.
    """
    generator = pow(7, (SCALAR_FIELD - 1) // FIELD_ELEMENTS_PER_BLOB, SCALAR_FIELD)
    powers, power = [], 1
    for _ in range(FIELD_ELEMENTS_PER_BLOB):
        powers.append(power)
        power = power * generator % SCALAR_FIELD
    width = FIELD_ELEMENTS_PER_BLOB.bit_length() - 1
    return tuple(
        powers[int(f"{index:0{width}b}"[::-1], 2)] for index in range(FIELD_ELEMENTS_PER_BLOB)
    )
