import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup import message as messages
from entresol.rollup.errors import MessageError

CHAIN_ID = 31337
ROLLUP = bytes(range(1, 21))
DOMAIN = messages.domain_separator(CHAIN_ID, ROLLUP)

operations = st.builds(
    messages.Operation,
    kind=st.integers(0, 255).filter(lambda k: k not in (layout.MASS_QUOTE, layout.QUOTE_LEG)),
    flags=st.integers(0, 255),
    instrument=st.integers(0, 65535),
    slot=st.integers(0, 65535),
    count=st.integers(0, 65535),
    price=st.integers(0, 2**32 - 1),
    quantity=st.integers(0, 2**32 - 1),
    value=st.integers(-(2**63), 2**63 - 1),
    account=st.integers(0, 2**32 - 1),
    label=st.integers(0, 2**32 - 1),
)
lane_messages = st.builds(
    messages.LaneMessage,
    lane=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    valid_until_ms=st.integers(0, 2**64 - 1),
    operations=st.lists(operations, min_size=1, max_size=31).map(tuple),
)


def withdraw(**changes: object) -> messages.OwnerMessage:
    operation = messages.OwnerOperation(
        kind=layout.WITHDRAW, amount=5_000_000, address=b"\x11" * 20, signature=bytes(range(64))
    )
    fields = {"account": 7, "sequence": 3, "valid_until_ms": 99, "operation": operation}
    return messages.OwnerMessage(**{**fields, **changes})


@given(lane_messages)
def test_lane_message_round_trip(message):
    data = messages.encode_message(message)
    assert len(data) == 32 * (1 + len(message.operations))
    assert messages.decode_message(data) == message


def test_owner_message_round_trip():
    data = messages.encode_message(withdraw())
    assert len(data) == 224
    assert messages.decode_message(data) == withdraw()


def test_operation_bytes_are_the_layout_record():
    operation = messages.Operation(kind=1, flags=9, instrument=2, slot=3, price=70_000, value=-5)
    raw = operation.encode()
    assert raw.hex() == "01090200030000007011010000000000fbffffffffffffff" + "00" * 8


@given(st.binary(max_size=256))
def test_decoding_any_bytes_either_fails_by_name_or_round_trips(data):
    try:
        message = messages.decode_message(data)
    except MessageError:
        return
    assert messages.encode_message(message) == data


def test_reserved_bytes_and_framing_are_refused():
    data = messages.encode_message(withdraw())
    for position in (5, 6, 7, 24, 31, 35):
        broken = bytearray(data)
        broken[position] ^= 0x40
        with pytest.raises(MessageError):
            messages.decode_message(bytes(broken))
    leg = messages.Operation(kind=layout.QUOTE_LEG)
    quote = messages.Operation(kind=layout.MASS_QUOTE, count=2)
    for records in ([leg], [quote, leg], [quote, leg, leg, leg], []):
        with pytest.raises(MessageError):
            messages.encode_message(
                messages.LaneMessage(
                    lane=1, sequence=1, valid_until_ms=1, operations=tuple(records)
                )
            )


def test_chain_follows_the_architecture():
    key = b"\x22" * 20
    expected = keccak256(
        DOMAIN + bytes(12) + key + b"".join(n.to_bytes(8, "little") for n in (5, 9, 1, 0))
    )
    tip = messages.initial_tip(DOMAIN, key, account=5, registration=9)
    assert tip == expected
    assert messages.next_tip(tip, b"abc") == keccak256(tip + b"abc")


def typed_digest(primary, values, type_text):
    members = [part.split(" ") for part in type_text[type_text.index("(") + 1 : -1].split(",")]
    signable = encode_typed_data(
        {"name": "Entresol", "version": "1", "chainId": CHAIN_ID, "verifyingContract": ROLLUP},
        {primary: [{"type": kind, "name": name} for kind, name in members]},
        {name: value for (_, name), value in zip(members, values, strict=True)},
    )
    return bytes(_hash_eip191_message(signable))


def test_digests_are_standard_eip712():
    tip = keccak256(b"tip")
    assert messages.lane_tip_digest(DOMAIN, tip) == typed_digest(
        "LaneTip", [tip], messages.LANE_TIP_TYPE
    )
    fields = {
        "lane": 4,
        "amount": 6,
        "address": b"\x33" * 20,
        "permissions": 3,
        "expires_ms": 10**12,
        "account": 8,
        "instrument_kind": layout.CALL,
        "underlying": 2,
        "symbol": 0x435442,
        "strike": 7 * 10**10,
        "tick_size": 10**4,
        "contract_size": 10**5,
        "base_tick": 11,
        "margin_class": 12,
        "minimum_lots": 1,
        "maximum_lots": 99,
        "maximum_age_ms": 5000,
    }
    for kind, (type_text, names) in messages.OWNER_TYPES.items():
        operation = messages.OwnerOperation(kind=kind, **fields)
        message = withdraw(operation=operation)
        values = [7, *(fields[name] for name in names), 3, 99]
        primary = type_text[: type_text.index("(")]
        assert messages.owner_digest(DOMAIN, message) == typed_digest(primary, values, type_text)
