from hypothesis import given
from hypothesis import strategies as st

from entresol.client.keys import key_from_secret
from entresol.client.signer import LaneSigner, pack_operation, sign_owner_operation
from entresol.crypto.secp256k1 import recover_address
from entresol.kernel import layout
from entresol.rollup.message import (
    LaneMessage,
    Operation,
    OwnerOperation,
    decode_message,
    encode_message,
    initial_tip,
    lane_tip_digest,
    next_tip,
    owner_digest,
)

KEY = key_from_secret(b"\5" * 32)
DOMAIN = b"\x0d" * 32


def lane() -> LaneSigner:
    tip = initial_tip(DOMAIN, KEY.address, 9, 3)
    return LaneSigner(KEY, DOMAIN, account=9, lane=4, tip=tip, sequence=0)


u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
operations = st.builds(
    Operation,
    kind=u8.filter(lambda kind: kind not in (layout.MASS_QUOTE, layout.QUOTE_LEG)),
    flags=u8,
    instrument=u16,
    slot=u16,
    count=u16,
    price=u32,
    quantity=u32,
    value=st.integers(-(1 << 63), (1 << 63) - 1),
    account=u32,
    label=u32,
)


@given(operations)
def test_packed_operations_are_the_protocols(operation: Operation) -> None:
    assert pack_operation(operation) == operation.encode()


@given(st.lists(st.lists(operations, min_size=1, max_size=31), min_size=1, max_size=4))
def test_messages_extend_the_chain_and_are_signed(batches: list[list[Operation]]) -> None:
    signer = lane()
    tip = signer.tip
    for sequence, batch in enumerate(batches, 1):
        message = signer.extend(batch, valid_until_ms=77)
        expected = LaneMessage(
            lane=4, sequence=sequence, valid_until_ms=77, operations=tuple(batch)
        )
        assert message.data == encode_message(expected)
        tip = next_tip(tip, message.data)
        assert message.tip == signer.tip == tip
        digest = lane_tip_digest(DOMAIN, tip)
        assert recover_address(digest, message.signature) == KEY.address


def test_resume_signs_what_was_refused_again() -> None:
    signer = lane()
    accepted = signer.extend([Operation(kind=layout.CANCEL, slot=1)], 5)
    refused = [signer.extend([Operation(kind=layout.CANCEL, slot=slot)], 5) for slot in (2, 3)]
    again = signer.resume(accepted.tip, accepted.sequence, refused[1:], valid_until_ms=9)
    (message,) = again
    decoded = decode_message(message.data)
    assert isinstance(decoded, LaneMessage)
    assert decoded.sequence == 2
    assert decoded.valid_until_ms == 9
    assert decoded.operations[0].slot == 3
    assert message.tip == next_tip(accepted.tip, message.data) == signer.tip


def test_owner_operations_carry_the_owners_signature() -> None:
    operation = OwnerOperation(kind=layout.WITHDRAW, amount=5, address=b"\1" * 20)
    message = sign_owner_operation(
        KEY, DOMAIN, operation, account=9, sequence=1, valid_until_ms=1_000
    )
    decoded = decode_message(message.data)
    assert recover_address(owner_digest(DOMAIN, decoded), message.signature) == KEY.address
    assert decoded.operation.signature != bytes(64)
