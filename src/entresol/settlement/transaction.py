"""Signed L1 transactions: type 2 (EIP-1559) and type 3 (blobs, with cell proofs).

Own code for type 3, because the general signer loads the KZG setup for every blob.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from entresol.crypto import kzg
from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import sign_digest
from entresol.rollup.limits import MAX_BLOBS
from entresol.settlement import rlp

BLOB_GAS: Final = 1 << 17
"""Blob gas of one blob."""

CELL_PROOF_WRAPPER: Final = 1
"""Version of the network form whose sidecar carries cell proofs (EIP-7594)."""

TRANSACTION_GAS_LIMIT: Final = 16_777_216
"""Most gas that L1 lets one transaction ask for (EIP-7825)."""


class TransactionError(ValueError):
    """A transaction that L1 could never accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """Blobs with their commitments and cell proofs: what travels beside a type-3 transaction."""

    blobs: tuple[bytes, ...]
    commitments: tuple[bytes, ...]
    cell_proofs: tuple[bytes, ...]

    @property
    def versioned_hashes(self) -> tuple[bytes, ...]:
        """What the transaction itself names."""
        return tuple(kzg.versioned_hash(commitment) for commitment in self.commitments)


def build_sidecar(blobs: Sequence[bytes]) -> Sidecar:
    """Commit to `blobs` and prove their cells: about 0.3 s of one core per blob."""
    if not 1 <= len(blobs) <= MAX_BLOBS:
        raise TransactionError(f"a transaction carries 1 to {MAX_BLOBS} blobs, not {len(blobs)}")
    proofs: list[bytes] = []
    for blob in blobs:
        proofs += kzg.compute_cell_proofs(blob)
    return Sidecar(
        blobs=tuple(blobs),
        commitments=tuple(kzg.blob_to_commitment(blob) for blob in blobs),
        cell_proofs=tuple(proofs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Most that is paid per unit, in wei: gas, the block builder's tip, blob gas."""

    gas: int
    tip: int
    blob_gas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a transaction does: `to` is 20 bytes (empty creates a contract), `value` wei."""

    to: bytes
    data: bytes
    gas_limit: int
    value: int = 0
    sidecar: Sidecar | None = None

    def cost(self, fees: Fees) -> int:
        """Wei that the account must hold for L1 to accept it."""
        blobs = len(self.sidecar.blobs) if self.sidecar is not None else 0
        return self.gas_limit * fees.gas + blobs * BLOB_GAS * fees.blob_gas + self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The bytes for `eth_sendRawTransaction` and the transaction's hash."""

    raw: bytes
    digest: bytes


def sign(call: Call, *, secret: bytes, chain_id: int, nonce: int, fees: Fees) -> Signed:
    """Sign `call` as a type-2 transaction, or type-3 when it has a sidecar."""
    if not 0 < call.gas_limit <= TRANSACTION_GAS_LIMIT:
        raise TransactionError(f"a gas limit of {call.gas_limit} is not 1 to 16,777,216")
    fields: list[rlp.Item] = [
        *(chain_id, nonce, fees.tip, fees.gas),
        *(call.gas_limit, call.to, call.value, call.data, []),
    ]
    kind = b"\x02"
    if call.sidecar is not None:
        if len(call.to) != 20:
            raise TransactionError("a blob transaction cannot create a contract")
        kind = b"\x03"
        fields += [fees.blob_gas, call.sidecar.versioned_hashes]
    signature = sign_digest(secret, keccak256(kind + rlp.encode(fields)))
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:64], "big")
    parity = signature[64] - 27
    fields += [parity, r, s]
    body = kind + rlp.encode(fields)
    if call.sidecar is None:
        return Signed(raw=body, digest=keccak256(body))
    sidecar = call.sidecar
    wrapper: list[rlp.Item] = [
        *(fields, CELL_PROOF_WRAPPER, sidecar.blobs, sidecar.commitments, sidecar.cell_proofs)
    ]
    return Signed(raw=kind + rlp.encode(wrapper), digest=keccak256(body))
