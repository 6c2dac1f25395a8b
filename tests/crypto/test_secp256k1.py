import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import secp256k1
from entresol.crypto.keccak import keccak256

SECRET = bytes.fromhex("1234567890" * 6 + "1234")
EIP_2098 = {
    # message: (v, r, s, yParityAndS), the two vectors of EIP-2098
    b"Hello World": (
        27,
        "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90",
        "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
        "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
    ),
    b"It's a small(er) world": (
        28,
        "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76",
        "139c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
        "939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
    ),
}
secrets = st.integers(1, secp256k1.ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


def personal_digest(message):
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


@pytest.mark.parametrize("message", EIP_2098)
def test_eip_2098_vectors(message):
    v, r, s, combined = EIP_2098[message]
    digest = personal_digest(message)
    signature = secp256k1.sign_digest(SECRET, digest)
    assert signature == bytes.fromhex(r + s) + bytes([v])
    compact = secp256k1.compact_signature(signature)
    assert compact == bytes.fromhex(r + combined)
    address = secp256k1.address_of(SECRET)
    assert secp256k1.recover_address(digest, signature) == address
    assert secp256k1.recover_address(digest, compact) == address


def test_address_of_the_key_one():
    one = (1).to_bytes(32, "big")
    assert secp256k1.address_of(one).hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"


@given(secrets, digests)
@settings(max_examples=40, deadline=None)
def test_signing_agrees_with_eth_account(secret, digest):
    ours = secp256k1.sign_digest(secret, digest)
    theirs = Account.from_key(secret).unsafe_sign_hash(digest)
    assert ours == bytes(theirs.signature)
    assert secp256k1.address_of(secret).hex() == theirs_address(secret)
    assert secp256k1.recover_address(digest, ours) == secp256k1.address_of(secret)


def theirs_address(secret):
    return Account.from_key(secret).address.lower().removeprefix("0x")


@given(secrets, digests)
@settings(max_examples=10, deadline=None)
def test_plain_twin_recovers_the_signer(secret, digest):
    signature = secp256k1.sign_digest(secret, digest)
    v, r, s = secp256k1.expand_signature(signature)
    recovered = secp256k1.recover_plain(
        digest, v, int.from_bytes(r, "big"), int.from_bytes(s, "big")
    )
    assert recovered == secp256k1.address_of(secret)


def test_high_s_is_refused_though_the_curve_would_accept_it():
    digest = keccak256(b"malleable")
    signature = secp256k1.sign_digest(SECRET, digest)
    s = int.from_bytes(signature[32:64], "big")
    flipped = (secp256k1.ORDER - s).to_bytes(32, "big")
    high = signature[:32] + flipped + bytes([55 - signature[64]])
    assert secp256k1.recover_address(digest, signature) == secp256k1.address_of(SECRET)
    assert secp256k1.recover_address(digest, high) is None
    with pytest.raises(ValueError, match="compact form"):
        secp256k1.compact_signature(high)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:64] + b"\x00",
        lambda s: s[:64] + b"\x1d",
        lambda s: bytes(32) + s[32:],
        lambda s: s[:32] + bytes(32) + s[64:],
        lambda s: secp256k1.ORDER.to_bytes(32, "big") + s[32:],
        lambda s: s + b"\0",
        lambda s: b"",
        lambda s: s[:63],
    ],
)
def test_malformed_signatures_recover_nobody(change):
    digest = keccak256(b"m")
    assert secp256k1.recover_address(digest, change(secp256k1.sign_digest(SECRET, digest))) is None


def test_r_that_is_no_point_recovers_nobody():
    # 5 is not the x of a point: 5^3 + 7 = 132 has no square root modulo the field prime.
    assert pow(132, (secp256k1.FIELD - 1) // 2, secp256k1.FIELD) == secp256k1.FIELD - 1
    signature = (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\x1b"
    assert secp256k1.recover_address(keccak256(b"m"), signature) is None
    assert secp256k1.recover_plain(keccak256(b"m"), 27, 5, 1) == secp256k1.NO_ADDRESS


@pytest.mark.parametrize("secret", [bytes(32), bytes(31), secp256k1.ORDER.to_bytes(32, "big")])
def test_invalid_secrets(secret):
    with pytest.raises(secp256k1.InvalidSecretError):
        secp256k1.address_of(secret)


def test_a_wrong_digest_length_is_refused():
    signature = secp256k1.sign_digest(SECRET, bytes(32))
    assert secp256k1.recover_address(bytes(31), signature) is None
    with pytest.raises(ValueError, match="32 bytes"):
        secp256k1.sign_digest(SECRET, bytes(31))
