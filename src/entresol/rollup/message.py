"""Messages: what a trader's lane or an account's owner says, as fixed bytes and as typed values.

A lane message is a header and 1 to 31 operations of 32 bytes; each one extends the lane's hash
chain, and the session key signs the chain's tip.  An owner message is a header and one
192-byte owner operation that carries the owner's own signature.  Formats: kernel/layout.py.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.errors import MessageError
from entresol.rollup.records import decode_record, encode_record

OWNER_RECORDS: Final = layout.OWNER_OPERATION.itemsize // layout.OPERATION.itemsize
"""32-byte records that an owner operation fills."""

MAX_MESSAGE_BYTES: Final = 32 * (1 + layout.MAX_RECORDS_PER_MESSAGE)
"""The longest message, in bytes."""

_UINT64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One 32-byte record of a lane message; fields as in layout.OPERATION."""

    kind: int
    flags: int = 0
    instrument: int = 0
    slot: int = 0
    count: int = 0
    price: int = 0
    quantity: int = 0
    value: int = 0
    account: int = 0
    label: int = 0

    def encode(self) -> bytes:
        """The 32 bytes; raises MessageError when a field does not fit."""
        return encode_record(layout.OPERATION, _values(self), MessageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerOperation:
    """The 192-byte record of an owner message; fields as in layout.OWNER_OPERATION.

    `address` is 20 raw bytes; `signature` is the 64-byte EIP-2098 form (r, then s with v - 27 in
    its top bit), zero while unsigned.
    """

    kind: int
    flags: int = 0
    instrument_kind: int = 0
    lane: int = 0
    amount: int = 0
    address: bytes = bytes(20)
    permissions: int = 0
    expires_ms: int = 0
    account: int = 0
    underlying: int = 0
    tick_size: int = 0
    contract_size: int = 0
    base_tick: int = 0
    strike: int = 0
    symbol: int = 0
    margin_class: int = 0
    minimum_lots: int = 0
    maximum_lots: int = 0
    maximum_age_ms: int = 0
    signature: bytes = bytes(64)

    def encode(self) -> bytes:
        """The 192 bytes; raises MessageError when a field does not fit."""
        values = _values(self)
        signature = values.pop("signature")
        if len(signature) != 64:
            raise MessageError(f"signature must be 64 bytes, not {len(signature)}")
        values["signature_r"], values["signature_s"] = signature[:32], signature[32:]
        return encode_record(layout.OWNER_OPERATION, values, MessageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneMessage:
    """1 to 31 operations under one lane's chain; `sequence` is the lane's last plus one."""

    lane: int
    sequence: int
    valid_until_ms: int
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerMessage:
    """One operation signed by the owner of `account`; `sequence` is the owner nonce plus one."""

    account: int
    sequence: int
    valid_until_ms: int
    operation: OwnerOperation


Message = LaneMessage | OwnerMessage


def encode_message(message: Message) -> bytes:
    """The exact bytes that are hashed, signed, sequenced and applied.

    Raises MessageError when a field does not fit or the records are framed wrongly.
    """
    if isinstance(message, LaneMessage):
        _check_framing(message.operations)
        body = b"".join(operation.encode() for operation in message.operations)
        target, kind = message.lane, layout.LANE_MESSAGE
    else:
        body = message.operation.encode()
        target, kind = message.account, layout.OWNER_MESSAGE
    header = {
        "target": target,
        "record_count": len(body) // layout.OPERATION.itemsize,
        "kind": kind,
        "version": layout.ENCODING_VERSION,
        "valid_until_ms": message.valid_until_ms,
        "sequence": message.sequence,
    }
    return encode_record(layout.MESSAGE_HEADER, header, MessageError) + body


def decode_message(data: bytes) -> Message:
    """The message that encodes to exactly `data`; raises MessageError for anything else."""
    if len(data) < 64 or len(data) > MAX_MESSAGE_BYTES or len(data) % 32:
        raise MessageError(
            f"a message is 64 to {MAX_MESSAGE_BYTES} bytes in steps of 32, not {len(data)}"
        )
    header = decode_record(layout.MESSAGE_HEADER, data[:32], MessageError)
    if header["version"] != layout.ENCODING_VERSION:
        raise MessageError(f"version {header['version']} is not {layout.ENCODING_VERSION}")
    if 32 * (1 + header["record_count"]) != len(data):
        raise MessageError(f"record count {header['record_count']} does not match the length")
    common = {"sequence": header["sequence"], "valid_until_ms": header["valid_until_ms"]}
    if header["kind"] == layout.LANE_MESSAGE:
        operations = tuple(
            decode_operation(data[start : start + 32]) for start in range(32, len(data), 32)
        )
        _check_framing(operations)
        return LaneMessage(lane=header["target"], operations=operations, **common)
    if header["kind"] != layout.OWNER_MESSAGE or header["record_count"] != OWNER_RECORDS:
        raise MessageError("neither a lane message nor an owner message of one operation")
    return OwnerMessage(
        account=header["target"], operation=decode_owner_operation(data[32:]), **common
    )


def decode_operation(data: bytes) -> Operation:
    """The operation in 32 bytes; every pattern is one, what it means is the kernel's matter."""
    return Operation(**decode_record(layout.OPERATION, data, MessageError))


def decode_owner_operation(data: bytes) -> OwnerOperation:
    """The owner operation in 192 bytes; raises MessageError when a reserved byte is set."""
    values = decode_record(layout.OWNER_OPERATION, data, MessageError)
    if values.pop("zero"):
        raise MessageError("a reserved byte of the owner operation is not zero")
    signature = values.pop("signature_r") + values.pop("signature_s")
    return OwnerOperation(signature=signature, **values)


def _values(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _check_framing(operations: tuple[Operation, ...]) -> None:
    """A MASS_QUOTE is followed by exactly `count` QUOTE_LEGs, which appear nowhere else."""
    if not 1 <= len(operations) <= layout.MAX_RECORDS_PER_MESSAGE:
        raise MessageError(
            f"a lane message carries 1 to {layout.MAX_RECORDS_PER_MESSAGE} records, "
            f"not {len(operations)}"
        )
    legs = 0
    for operation in operations:
        if (legs > 0) != (operation.kind == layout.QUOTE_LEG):
            raise MessageError("quote legs do not follow their mass quote")
        legs = legs - 1 if legs else 0
        if operation.kind == layout.MASS_QUOTE:
            legs = operation.count
    if legs:
        raise MessageError("a mass quote has fewer legs than its count")


# --- the lane's chain ------------------------------------------------------------------------


def initial_tip(domain: bytes, key: bytes, account: int, registration: int) -> bytes:
    """The tip of a lane before its first message; `registration` never repeats."""
    words = (account, registration, layout.ENCODING_VERSION, 0)
    tail = b"".join(word.to_bytes(8, "little") for word in words)
    return keccak256(domain + key.rjust(32, b"\0") + tail)


def next_tip(tip: bytes, message: bytes) -> bytes:
    """The tip after `message` (its exact bytes) was accepted."""
    return keccak256(tip + message)


# --- what a person signs (EIP-712) -----------------------------------------------------------

LANE_TIP_TYPE: Final = "LaneTip(bytes32 tip)"

OWNER_TYPES: Final = {
    layout.WITHDRAW: (
        "Withdraw(uint64 account,address recipient,uint64 amount,uint64 nonce,uint64 validUntil)",
        ("address", "amount"),
    ),
    layout.REGISTER_LANE: (
        "RegisterLane(uint64 account,address key,uint64 expires,uint32 permissions,uint64 nonce,"
        "uint64 validUntil)",
        ("address", "expires_ms", "permissions"),
    ),
    layout.REVOKE_LANE: (
        "RevokeLane(uint64 account,uint32 lane,uint64 nonce,uint64 validUntil)",
        ("lane",),
    ),
    layout.OWNER_TRANSFER: (
        "Transfer(uint64 account,uint64 recipient,uint64 amount,uint64 nonce,uint64 validUntil)",
        ("account", "amount"),
    ),
    layout.LIST_INSTRUMENT: (
        "ListInstrument(uint64 account,uint8 kind,uint32 underlying,uint64 symbol,uint64 strike,"
        "uint64 expiry,uint64 tickSize,uint64 contractSize,uint64 baseTick,uint32 marginClass,"
        "uint32 minimumLots,uint32 maximumLots,uint32 maximumAge,uint64 nonce,uint64 validUntil)",
        (
            "instrument_kind",
            "underlying",
            "symbol",
            "strike",
            "expires_ms",
            "tick_size",
            "contract_size",
            "base_tick",
            "margin_class",
            "minimum_lots",
            "maximum_lots",
            "maximum_age_ms",
        ),
    ),
}
"""EIP-712 type of each owner operation and the record fields between `account` and `nonce`."""


def _word(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value.rjust(32, b"\0")
    return (value & _UINT64).to_bytes(32, "big")


def domain_separator(chain_id: int, rollup: bytes) -> bytes:
    """EIP-712 domain ("Entresol", "1", chain id, rollup contract) as 32 bytes."""
    type_hash = keccak256(
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    names = keccak256(b"Entresol") + keccak256(b"1")
    return keccak256(type_hash + names + chain_id.to_bytes(32, "big") + rollup.rjust(32, b"\0"))


def _typed_digest(domain: bytes, struct_hash: bytes) -> bytes:
    return keccak256(b"\x19\x01" + domain + struct_hash)


def lane_tip_digest(domain: bytes, tip: bytes) -> bytes:
    """What the session key signs after a message: the digest of the new tip."""
    return _typed_digest(domain, keccak256(keccak256(LANE_TIP_TYPE.encode()) + tip))


def owner_digest(domain: bytes, message: OwnerMessage) -> bytes:
    """What the account's owner signs; raises MessageError when the kind is not an owner kind."""
    operation = message.operation
    if operation.kind not in OWNER_TYPES:
        raise MessageError(f"kind {operation.kind} is not an owner operation")
    type_text, names = OWNER_TYPES[operation.kind]
    values = [message.account, *(getattr(operation, name) for name in names)]
    words = [_word(value) for value in (*values, message.sequence, message.valid_until_ms)]
    return _typed_digest(domain, keccak256(keccak256(type_text.encode()) + b"".join(words)))
