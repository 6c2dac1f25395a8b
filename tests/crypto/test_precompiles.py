"""Our twins of the L1 precompiles, against the precompiles of a real L1 node."""

import json
import urllib.request

import pytest

from entresol.crypto import kzg, secp256k1
from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import HALF_ORDER, ORDER
from entresol.settlement.anvil import Anvil

pytestmark = pytest.mark.l1


@pytest.fixture(scope="module")
def call():
    with Anvil() as node:

        def evaluate(address, data):
            """Output of a call, or None when it fails."""
            request = {"to": f"0x{address:040x}", "data": "0x" + data.hex(), "gas": hex(10**6)}
            body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [request, "latest"]}
            post = urllib.request.Request(
                node.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(post, timeout=60) as response:
                answer = json.load(response)
            return None if "error" in answer else bytes.fromhex(answer["result"][2:])

        yield evaluate


def word(number):
    return number.to_bytes(32, "big")


def test_ecrecover(call):
    cases = []
    for index in range(20):
        digest = keccak256(b"case %d" % index)
        signature = secp256k1.sign_digest(keccak256(b"key %d" % index), digest)
        v, r, s = signature[64], signature[:32], signature[32:64]
        cases += [(digest, v, r, s), (digest, 55 - v, r, s), (digest, v, s, r)]
        cases += [(digest, v, word(index), s), (digest, 26 + index % 4, r, s)]
    numbers = (0, 1, HALF_ORDER, HALF_ORDER + 1, ORDER - 1, ORDER, 2**256 - 1)
    x = secp256k1.GENERATOR[0]
    cases += [(keccak256(b"edge"), 27, word(r), word(s)) for r in (x, *numbers) for s in numbers]
    recovered = 0
    for digest, v, r, s in cases:
        output = call(1, digest + word(v) + r + s)
        address = secp256k1.recover_address(digest, r + s + bytes([v]))
        if int.from_bytes(s, "big") > HALF_ORDER:
            assert address is None  # the precompile alone accepts these
        else:
            assert output == (b"" if address is None else bytes(12) + address)
        recovered += address is not None
    assert recovered >= 40


def test_point_evaluation(call):
    blob = b"".join(b"\0" + keccak256(b"%d" % index)[1:] for index in range(4096))
    commitment = kzg.blob_to_commitment(blob)
    success = word(4096) + word(kzg.SCALAR_FIELD)
    for z in (word(kzg.roots_of_unity()[5]), word(12345)):
        proof, y = kzg.open_at(blob, z)
        assert call(10, kzg.precompile_input(commitment, z, y, proof)) == success
        wrong = word((int.from_bytes(y, "big") + 1) % kzg.SCALAR_FIELD)
        assert call(10, kzg.precompile_input(commitment, z, wrong, proof)) is None
        assert not kzg.verify_opening(commitment, z, wrong, proof)
