"""EIP-712 digests of every message a person or a session key signs.

A plain Python twin of what the kernel computes; wallets compute the same from `typed_data`.
Members are integers (uintN), 20-byte addresses or 32-byte words.
"""

from collections.abc import Mapping
from typing import Final

from entresol.crypto.keccak import keccak256

NAME: Final = "Entresol"
VERSION: Final = "1"

Value = int | bytes
"""A member's value: int for uintN, 20 bytes for address, 32 bytes for bytes32."""

_DOMAIN: Final = (
    ("string", "name"),
    ("string", "version"),
    ("uint256", "chainId"),
    ("address", "verifyingContract"),
)

MESSAGES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "LaneTip": (("bytes32", "tip"),),
    "Withdraw": (
        ("uint64", "account"),
        ("address", "recipient"),
        ("uint64", "amount"),
        ("uint64", "nonce"),
        ("uint64", "validUntil"),
    ),
    "RegisterLane": (
        ("uint64", "account"),
        ("address", "key"),
        ("uint64", "expires"),
        ("uint32", "permissions"),
        ("uint64", "nonce"),
        ("uint64", "validUntil"),
    ),
    "RevokeLane": (
        ("uint64", "account"),
        ("uint32", "lane"),
        ("uint64", "nonce"),
        ("uint64", "validUntil"),
    ),
    "Transfer": (
        ("uint64", "account"),
        ("uint64", "recipient"),
        ("uint64", "amount"),
        ("uint64", "nonce"),
        ("uint64", "validUntil"),
    ),
    "ListInstrument": (
        ("uint64", "account"),
        ("uint8", "kind"),
        ("uint32", "underlying"),
        ("uint64", "symbol"),
        ("uint64", "strike"),
        ("uint64", "expiry"),
        ("uint64", "tickSize"),
        ("uint64", "contractSize"),
        ("uint64", "baseTick"),
        ("uint32", "marginClass"),
        ("uint32", "minimumLots"),
        ("uint32", "maximumLots"),
        ("uint32", "maximumAge"),
        ("uint64", "nonce"),
        ("uint64", "validUntil"),
    ),
}
"""Message name -> its members (type, name) in order."""


class TypedDataError(ValueError):
    """A message or member that the signed types do not have, or a value its type cannot hold."""


def _type_string(name: str, members: tuple[tuple[str, str], ...]) -> str:
    return f"{name}({','.join(f'{kind} {member}' for kind, member in members)})"


def _members(name: str) -> tuple[tuple[str, str], ...]:
    try:
        return MESSAGES[name]
    except KeyError:
        raise TypedDataError(f"{name} is no signed message; use one of {list(MESSAGES)}.") from None


def type_string(name: str) -> str:
    """`Name(type member,...)` of a message, the text that is hashed."""
    return _type_string(name, _members(name))


def type_hash(name: str) -> bytes:
    """keccak256 of the type string."""
    return keccak256(type_string(name).encode())


def _encode(kind: str, member: str, value: Value) -> bytes:
    if kind in ("address", "bytes32"):
        width = 20 if kind == "address" else 32
        if isinstance(value, int) or len(value) != width:
            raise TypedDataError(f"{member} must be {width} bytes ({kind}).")
        return bytes(value).rjust(32, b"\0")
    bits = int(kind.removeprefix("uint"))
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise TypedDataError(f"{member} must be an integer that fits {kind}.")
    return int(value).to_bytes(32, "big")


def struct_hash(name: str, values: Mapping[str, Value]) -> bytes:
    """keccak256(type hash || encoded members); every member must be given and no other."""
    members = _members(name)
    if set(values) != {member for _, member in members}:
        raise TypedDataError(f"{name} needs exactly these values: {type_string(name)}.")
    encoded = [_encode(kind, member, values[member]) for kind, member in members]
    return keccak256(type_hash(name) + b"".join(encoded))


def domain_separator(chain_id: int, verifying_contract: bytes) -> bytes:
    """Hash of the domain ("Entresol", "1", chain id, address of the rollup contract)."""
    return keccak256(
        keccak256(_type_string("EIP712Domain", _DOMAIN).encode())
        + keccak256(NAME.encode())
        + keccak256(VERSION.encode())
        + _encode("uint256", "chainId", chain_id)
        + _encode("address", "verifyingContract", verifying_contract)
    )


def signing_digest(separator: bytes, hashed: bytes) -> bytes:
    """keccak256(0x1901 || domain separator || struct hash): what is signed."""
    if len(separator) != 32 or len(hashed) != 32:
        raise TypedDataError("A domain separator and a struct hash have 32 bytes each.")
    return keccak256(b"\x19\x01" + separator + hashed)


def digest(separator: bytes, name: str, values: Mapping[str, Value]) -> bytes:
    """The digest to sign for message `name` under a domain separator."""
    return signing_digest(separator, struct_hash(name, values))


def lane_tip_digest(separator: bytes, tip: bytes) -> bytes:
    """The digest a session key signs for its lane's tip."""
    return digest(separator, "LaneTip", {"tip": tip})


def typed_data(
    chain_id: int, verifying_contract: bytes, name: str, values: Mapping[str, Value]
) -> dict[str, object]:
    """The JSON document for a wallet's eth_signTypedData_v4, same digest as `digest`."""
    members = _members(name)
    struct_hash(name, values)
    return {
        "types": {
            "EIP712Domain": [{"name": member, "type": kind} for kind, member in _DOMAIN],
            name: [{"name": member, "type": kind} for kind, member in members],
        },
        "primaryType": name,
        "domain": {
            "name": NAME,
            "version": VERSION,
            "chainId": chain_id,
            "verifyingContract": "0x" + verifying_contract.hex(),
        },
        "message": {
            member: "0x" + value.hex() if isinstance(value := values[member], bytes) else value
            for _, member in members
        },
    }
