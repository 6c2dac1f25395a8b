"""Keys of owners and sessions: make them, derive them, keep them encrypted on disk.

An owner key holds money on L1 and signs the few readable owner operations.  A session key signs
orders; it can be derived again from the owner key, so only the owner key needs keeping.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eth_account import Account

from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import InvalidSecretError, address_of, sign_digest

DEVELOPMENT_CHAIN_ID: Final = 31337
"""The chain id of development L1 nodes; the only one where the public mnemonic may be used."""

_DEVELOPMENT_MNEMONIC: Final = "test test test test test test test test test test test junk"


class WalletError(Exception):
    """A key cannot be made, read or used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secp256k1 key: 32 secret bytes (never shown by repr) and the 20-byte address."""

    secret: bytes = field(repr=False)
    address: bytes

    @property
    def address_hex(self) -> str:
        """The address as 0x and 40 lower-case hex digits."""
        return "0x" + self.address.hex()

    def sign(self, digest: bytes) -> bytes:
        """65-byte signature (r, s, v) over a 32-byte digest."""
        return sign_digest(self.secret, digest)


def key_from_secret(secret: bytes) -> Key:
    """The key of 32 secret bytes; raises WalletError when they are not a secp256k1 secret."""
    try:
        return Key(secret, address_of(secret))
    except InvalidSecretError as error:
        raise WalletError("This is not a secp256k1 secret key: give 32 bytes as hex.") from error


def parse_secret(text: str) -> Key:
    """The key written as 64 hex digits, with or without 0x."""
    try:
        return key_from_secret(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError as error:
        raise WalletError("A secret key is written as 64 hex digits.") from error


def create_key() -> Key:
    """A new key from the operating system's randomness."""
    while True:  # a secret of zero or at least the group order has probability 2^-128
        try:
            return key_from_secret(secrets.token_bytes(32))
        except WalletError:
            continue


def derive_session_key(owner: Key, domain: bytes, index: int = 0) -> Key:
    """The owner's session key number `index` on the rollup with this 32-byte domain separator.

    The secret is keccak256 over a label, the owner's secret, the domain and the index: the same
    owner always finds it again, and it says nothing about the owner's secret.
    """
    material = b"entresol session key" + owner.secret + domain + index.to_bytes(8, "big")
    return key_from_secret(keccak256(material))


def development_key(index: int, chain_id: int) -> Key:
    """Account `index` of the mnemonic that every development L1 node funds.

    Its secrets are public, so any chain id but 31337 raises WalletError.
    """
    if chain_id != DEVELOPMENT_CHAIN_ID:
        raise WalletError(
            f"Development keys are public and only for chain {DEVELOPMENT_CHAIN_ID}, "
            f"not {chain_id}: give a key of your own with --key."
        )
    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(_DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return key_from_secret(bytes(account.key))


def save_key(key: Key, path: Path, password: str) -> None:
    """Write `key` as an encrypted keystore (web3 secret storage, scrypt), readable by its owner.

    Raises WalletError when the file exists: a key is never overwritten.
    """
    keystore = Account.encrypt(key.secret, password)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise WalletError(f"{path} exists already; keys are never overwritten.") from error
    with os.fdopen(handle, "w") as file:
        json.dump(keystore, file)


def load_key(path: Path, password: str) -> Key:
    """Read an encrypted keystore; WalletError says whether file or password is wrong."""
    try:
        keystore: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WalletError(f"{path} is not a keystore that can be read: {error}") from error
    try:
        return key_from_secret(bytes(Account.decrypt(keystore, password)))
    except (ValueError, TypeError, KeyError) as error:
        raise WalletError(f"{path} does not open: wrong password or not a keystore.") from error
