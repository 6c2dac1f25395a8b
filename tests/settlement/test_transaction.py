from dataclasses import replace

import pytest
import rlp as reference
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from entresol.crypto import kzg
from entresol.crypto.keccak import keccak256
from entresol.settlement.l1 import L1Error
from entresol.settlement.transaction import (
    Call,
    Fees,
    TransactionError,
    build_sidecar,
    sign,
)

SECRET = (7).to_bytes(32, "big")
FEES = Fees(gas=10**10, tip=10**9, blob_gas=10**9)


@given(
    to=st.binary(min_size=20, max_size=20) | st.just(b""),
    data=st.binary(max_size=300),
    value=st.integers(0, 10**20),
    nonce=st.integers(0, 2**32),
)
def test_type_two_is_what_the_general_signer_makes(to, data, value, nonce):
    call = Call(to=to, data=data, gas_limit=100_000, value=value)
    signed = sign(call, secret=SECRET, chain_id=31337, nonce=nonce, fees=FEES)
    fields = {
        "type": 2, "chainId": 31337, "nonce": nonce, "maxPriorityFeePerGas": FEES.tip,
        "maxFeePerGas": FEES.gas, "gas": 100_000, "value": value, "data": data,
        "accessList": [],
    }  # fmt: skip
    if to:
        fields["to"] = to
    expected = Account.from_key(SECRET).sign_transaction(fields)
    assert signed.raw == bytes(expected.raw_transaction)
    assert signed.digest == bytes(expected.hash)


def test_type_three_carries_cell_proofs(sidecars):
    sidecar = sidecars[2]
    assert kzg.verify_cell_proofs(
        sidecar.blobs[1], sidecar.commitments[1], sidecar.cell_proofs[128:]
    )
    call = Call(to=b"\2" * 20, data=b"abc", gas_limit=100_000, sidecar=sidecar)
    signed = sign(call, secret=SECRET, chain_id=31337, nonce=3, fees=FEES)
    assert signed.raw[0] == 3
    fields, version, blobs, commitments, proofs = reference.decode(signed.raw[1:])
    assert signed.digest == keccak256(b"\3" + reference.encode(fields))
    assert fields[10] == list(sidecar.versioned_hashes)
    assert (version, blobs, commitments) == (b"\1", list(sidecar.blobs), list(sidecar.commitments))
    assert proofs == list(sidecar.cell_proofs)
    assert call.cost(FEES) == 100_000 * FEES.gas + 2 * 131_072 * FEES.blob_gas


def test_impossible_transactions_are_refused(sidecars):
    options = {"secret": SECRET, "chain_id": 1, "nonce": 0, "fees": FEES}
    for gas in (0, 16_777_217):
        with pytest.raises(TransactionError, match="gas limit"):
            sign(Call(to=b"", data=b"", gas_limit=gas), **options)
    with pytest.raises(TransactionError, match="cannot create a contract"):
        sign(Call(to=b"", data=b"", gas_limit=9, sidecar=sidecars[1]), **options)
    for count in (0, 7):
        with pytest.raises(TransactionError, match="1 to 6 blobs"):
            build_sidecar([bytes(131_072)] * count)


@pytest.mark.l1
def test_the_node_computes_the_same_hash(world, sidecars):
    for nonce, sidecar in enumerate((None, sidecars[2])):
        call = Call(to=b"\2" * 20, data=b"abc", gas_limit=100_000, sidecar=sidecar)
        signed = sign(call, secret=world.secret("alice"), chain_id=31337, nonce=nonce, fees=FEES)
        assert world.client.send_raw(signed.raw) == signed.digest
        sent = world.client.rpc("eth_getTransactionByHash", "0x" + signed.digest.hex())
        assert sent["from"] == "0x" + world.address("alice").hex()


@pytest.mark.l1
def test_the_node_checks_the_cell_proofs(world, sidecars):
    proofs = sidecars[1].cell_proofs
    swapped = replace(sidecars[1], cell_proofs=(proofs[1], proofs[0], *proofs[2:]))
    call = Call(to=b"\2" * 20, data=b"", gas_limit=100_000, sidecar=swapped)
    signed = sign(call, secret=world.secret("alice"), chain_id=31337, nonce=0, fees=FEES)
    with pytest.raises(L1Error, match="invalid KZG proof"):
        world.client.send_raw(signed.raw)
