import numpy as np
import pytest

from entresol.crypto import eip712
from entresol.crypto.secp256k1 import compact_signature, sign_digest
from entresol.kernel import layout, signatures
from entresol.rollup.message import OwnerMessage, OwnerOperation, encode_message, owner_digest

KEY = bytes(range(20))
LARGE = (1 << 63) + 5

OPERATIONS = {
    layout.WITHDRAW: {"address": KEY, "amount": 12_345_678_901},
    layout.REGISTER_LANE: {"address": KEY, "expires_ms": LARGE, "permissions": 5},
    layout.REVOKE_LANE: {"lane": 77},
    layout.OWNER_TRANSFER: {"account": 9, "amount": 1 << 40},
    layout.LIST_INSTRUMENT: {
        "instrument_kind": 2,
        "underlying": 3,
        "symbol": int.from_bytes(b"BTC", "little"),
        "strike": 70_000_000_000,
        "expires_ms": 1_800_000_000_000,
        "tick_size": 500_000,
        "contract_size": 10_000,
        "base_tick": 1,
        "margin_class": 2,
        "minimum_lots": 3,
        "maximum_lots": 4_000_000_000,
        "maximum_age_ms": 60_000,
    },
}


def owner_message(kind, fields, signature=bytes(64), **header):
    header = {"account": 5, "sequence": LARGE, "valid_until_ms": 1_700_000_000_000, **header}
    return OwnerMessage(
        operation=OwnerOperation(kind=kind, signature=signature, **fields), **header
    )


@pytest.mark.parametrize("kind", OPERATIONS)
def test_owner_signature_is_over_the_readable_struct(chain, kind):
    fields = OPERATIONS[kind]
    digest = owner_digest(chain.domain, owner_message(kind, fields))
    signature = chain.sign(8, digest)
    at = chain.put(encode_message(owner_message(kind, fields, signature)))
    owner, other = chain.put_address(chain.address(8)), chain.put_address(chain.address(9), 1)
    assert signatures.owner_message_is_signed(chain.base, chain.base + at, owner)
    assert not signatures.owner_message_is_signed(chain.base, chain.base + at, other)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_field_of_an_owner_operation_is_signed(chain, kind):
    fields = OPERATIONS[kind]
    signature = chain.sign(8, owner_digest(chain.domain, owner_message(kind, fields)))
    owner = chain.put_address(chain.address(8))
    changed = [(fields, {name: 6}) for name in ("account", "sequence", "valid_until_ms")]
    for name, value in fields.items():
        other = bytes(20) if isinstance(value, bytes) else value ^ 1
        changed.append(({**fields, name: other}, {}))
    for other_fields, header in changed:
        at = chain.put(encode_message(owner_message(kind, other_fields, signature, **header)))
        assert not signatures.owner_message_is_signed(chain.base, chain.base + at, owner)


def check_tip(chain, tip, key, signature, shift=0):
    at = chain.put(tip) + chain.base
    signed = chain.put(signature, layout.BATCH_DATA_BASE + 4096 + shift) + chain.base
    return signatures.lane_tip_is_signed(chain.base, at, chain.put_address(key), signed)


@pytest.mark.parametrize("shift", range(8))
def test_lane_tip_signature_at_any_alignment(chain, shift):
    tip = np.random.default_rng(shift).bytes(32)
    signature = chain.sign(7, eip712.lane_tip_digest(chain.domain, tip))
    assert check_tip(chain, tip, chain.address(7), signature, shift)
    assert not check_tip(chain, tip, chain.address(6), signature, shift)
    assert not check_tip(chain, tip[::-1], chain.address(7), signature, shift)


def test_both_recovery_bits_occur_and_are_used(chain):
    bits = set()
    for number in range(12):
        tip = bytes([number]) * 32
        signature = chain.sign(7, eip712.lane_tip_digest(chain.domain, tip))
        bits.add(signature[32] >> 7)
        assert check_tip(chain, tip, chain.address(7), signature)
        flipped = signature[:32] + bytes([signature[32] ^ 0x80]) + signature[33:]
        assert not check_tip(chain, tip, chain.address(7), flipped)
    assert bits == {0, 1}


def test_the_zero_address_never_authenticates(chain):
    tip = bytes(32)
    for signature in (bytes(64), b"\xff" * 64, bytes(32) + b"\xff" * 32):
        assert not check_tip(chain, tip, bytes(20), signature)


def test_a_high_s_is_refused(chain):
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    digest = eip712.lane_tip_digest(chain.domain, bytes(32))
    raw = sign_digest((7).to_bytes(32, "big"), digest)
    s = int.from_bytes(raw[32:64], "big")
    high = (order - s).to_bytes(32, "big")
    # The 64-byte form cannot even carry a high s: its top bit is the parity.
    for top in (0x00, 0x80):
        forged = raw[:32] + bytes([high[0] & 0x7F | top]) + high[1:]
        assert not check_tip(chain, bytes(32), chain.address(7), forged)
    assert check_tip(chain, bytes(32), chain.address(7), compact_signature(raw))
