import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import eip712
from entresol.crypto.keccak import keccak256

CONTRACT = bytes.fromhex("c0ffee254729296a45a3885639ac7e10f9d54979")
CHAIN = 31337

DOCUMENTED = {
    "LaneTip": "LaneTip(bytes32 tip)",
    "Withdraw": (
        "Withdraw(uint64 account,address recipient,uint64 amount,uint64 nonce,uint64 validUntil)"
    ),
    "RegisterLane": (
        "RegisterLane(uint64 account,address key,uint64 expires,uint32 permissions,uint64 nonce,"
        "uint64 validUntil)"
    ),
    "RevokeLane": "RevokeLane(uint64 account,uint32 lane,uint64 nonce,uint64 validUntil)",
    "Transfer": (
        "Transfer(uint64 account,uint64 recipient,uint64 amount,uint64 nonce,uint64 validUntil)"
    ),
    "ListInstrument": (
        "ListInstrument(uint64 account,uint8 kind,uint32 underlying,uint64 symbol,uint64 strike,"
        "uint64 expiry,uint64 tickSize,uint64 contractSize,uint64 baseTick,uint32 marginClass,"
        "uint32 minimumLots,uint32 maximumLots,uint32 maximumAge,uint64 nonce,uint64 validUntil)"
    ),
}


def strategy(kind):
    if kind == "address":
        return st.binary(min_size=20, max_size=20)
    if kind == "bytes32":
        return st.binary(min_size=32, max_size=32)
    return st.integers(0, 2 ** int(kind.removeprefix("uint")) - 1)


@st.composite
def messages(draw):
    name = draw(st.sampled_from(sorted(eip712.MESSAGES)))
    return name, {member: draw(strategy(kind)) for kind, member in eip712.MESSAGES[name]}


def test_type_strings_are_the_documented_ones():
    assert {name: eip712.type_string(name) for name in eip712.MESSAGES} == DOCUMENTED
    for name, text in DOCUMENTED.items():
        assert eip712.type_hash(name) == keccak256(text.encode())


@given(messages(), st.integers(0, 2**256 - 1), st.binary(min_size=20, max_size=20))
@settings(deadline=None)
def test_digests_are_those_of_eth_account(message, chain_id, contract):
    name, values = message
    document = eip712.typed_data(chain_id, contract, name, values)
    theirs = encode_typed_data(full_message=document)
    assert theirs.header == eip712.domain_separator(chain_id, contract)
    assert theirs.body == eip712.struct_hash(name, values)
    ours = eip712.digest(eip712.domain_separator(chain_id, contract), name, values)
    assert ours == bytes(_hash_eip191_message(theirs))


def test_lane_tip_digest_is_the_digest_of_its_message():
    separator, tip = eip712.domain_separator(CHAIN, CONTRACT), keccak256(b"tip")
    assert eip712.lane_tip_digest(separator, tip) == eip712.digest(
        separator, "LaneTip", {"tip": tip}
    )


def test_each_part_of_the_domain_and_message_is_bound():
    values = {"account": 1, "recipient": CONTRACT, "amount": 2, "nonce": 3, "validUntil": 4}
    digests = {
        eip712.digest(eip712.domain_separator(CHAIN, CONTRACT), "Withdraw", values),
        eip712.digest(eip712.domain_separator(CHAIN + 1, CONTRACT), "Withdraw", values),
        eip712.digest(eip712.domain_separator(CHAIN, bytes(20)), "Withdraw", values),
        *(
            eip712.digest(
                eip712.domain_separator(CHAIN, CONTRACT),
                "Withdraw",
                {**values, member: bytes(20) if member == "recipient" else 9},
            )
            for member in values
        ),
    }
    assert len(digests) == 3 + len(values)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Deposit", {}, "no signed message"),
        ("LaneTip", {}, "exactly these values"),
        ("LaneTip", {"tip": bytes(32), "more": 1}, "exactly these values"),
        ("LaneTip", {"tip": bytes(31)}, "32 bytes"),
        ("LaneTip", {"tip": 5}, "32 bytes"),
        (
            "RevokeLane",
            {"account": 1, "lane": 1 << 32, "nonce": 1, "validUntil": 1},
            "fits uint32",
        ),
        ("RevokeLane", {"account": -1, "lane": 1, "nonce": 1, "validUntil": 1}, "fits uint64"),
        ("RevokeLane", {"account": b"1", "lane": 1, "nonce": 1, "validUntil": 1}, "fits uint64"),
    ],
)
def test_values_that_no_wallet_could_sign(name, values, reason):
    with pytest.raises(eip712.TypedDataError, match=reason):
        eip712.struct_hash(name, values)


def test_signing_digest_takes_whole_words():
    with pytest.raises(eip712.TypedDataError):
        eip712.signing_digest(bytes(31), bytes(32))
