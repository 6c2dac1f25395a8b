import stat
from pathlib import Path

import pytest

from entresol.client.keys import (
    WalletError,
    create_key,
    derive_session_key,
    development_key,
    key_from_secret,
    load_key,
    parse_secret,
    save_key,
)
from entresol.crypto.secp256k1 import recover_address


def test_a_new_key_signs_as_its_address() -> None:
    key = create_key()
    assert recover_address(b"\1" * 32, key.sign(b"\1" * 32)) == key.address
    assert key.secret.hex() not in repr(key)
    assert create_key() != key


def test_session_keys_are_found_again_and_differ() -> None:
    owner = key_from_secret(b"\7" * 32)
    found = {
        derive_session_key(owner, domain, index).address
        for domain in (b"\1" * 32, b"\2" * 32)
        for index in range(3)
    }
    assert len(found) == 6
    assert derive_session_key(owner, b"\1" * 32, 2) == derive_session_key(owner, b"\1" * 32, 2)


def test_development_keys_are_the_known_ones_and_only_for_the_development_chain() -> None:
    assert development_key(0, 31337).address_hex == "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert development_key(1, 31337).address_hex == "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
    with pytest.raises(WalletError, match="give a key of your own"):
        development_key(0, 1)


def test_a_keystore_is_private_encrypted_and_never_overwritten(tmp_path: Path) -> None:
    key, path = create_key(), tmp_path / "keys" / "owner.json"
    save_key(key, path, "correct horse")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.secret.hex() not in path.read_text()
    assert load_key(path, "correct horse") == key
    with pytest.raises(WalletError, match="wrong password"):
        load_key(path, "battery staple")
    with pytest.raises(WalletError, match="never overwritten"):
        save_key(key, path, "x")


@pytest.mark.parametrize("text", ["", "0x", "zz", "00" * 32, "ff" * 32, "11" * 31])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(WalletError):
        parse_secret(text)


def test_unreadable_keystores_are_named(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="can be read"):
        load_key(tmp_path / "absent", "x")
    (tmp_path / "other").write_text("{}")
    with pytest.raises(WalletError):
        load_key(tmp_path / "other", "x")
