from dataclasses import replace

import pytest

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.kernel.messages import MAX_LIFETIME_MS
from entresol.kernel.rejections import Refusal, Rejection
from entresol.rollup.message import (
    Operation,
    OwnerMessage,
    OwnerOperation,
    encode_message,
    initial_tip,
    next_tip,
)

CANCEL_ALL = Operation(kind=layout.CANCEL_ALL)
BAD = Operation(kind=200)


def tip_of(chain, lane):
    return chain.durable["lane"]["tip"][lane].tobytes()


def raw_message(chain, lane, records, count=None, **changes):
    """A lane message with any bytes for records, framed as told."""
    header = bytearray(encode_message(chain.lane_message(lane))[:32])
    count = len(records) // 32 if count is None else count
    header[4:6] = count.to_bytes(2, "little")
    for offset, value in changes.get("bytes_at", {}).items():
        header[offset] = value
    return bytes(header) + records


def refused(chain, message, refusal):
    """Neither check nor application of a refused message changes anything."""
    before = chain.state()
    assert chain.check(message) == refusal
    assert chain.send(message) == refusal
    assert chain.state() == before


def test_the_chain_of_a_lane_is_the_documented_one(chain):
    lane = chain.start(7)[0]
    record = chain.durable["lane"][lane]
    assert record["key"].tobytes() == chain.address(107)
    expected = initial_tip(chain.domain, chain.address(107), 3, 1)
    assert tip_of(chain, lane) == expected
    for operations in ([CANCEL_ALL], [CANCEL_ALL] * 31, [BAD, CANCEL_ALL]):
        message = chain.lane_message(lane, *operations)
        assert chain.send(message) == 0
        expected = next_tip(expected, encode_message(message))
        assert tip_of(chain, lane) == expected
    assert chain.durable["lane"]["sequence"][lane] == 3
    assert chain.header["operation_count"] == 6 + 34


def test_checking_writes_no_state(chain):
    lane = chain.start(7)[0]
    before = chain.state()
    assert chain.check(chain.lane_message(lane)) == 0
    assert chain.state() == before


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"sequence": 0}, Refusal.WRONG_SEQUENCE),
        ({"sequence": 2}, Refusal.WRONG_SEQUENCE),
        ({"sequence": (1 << 64) - 1}, Refusal.WRONG_SEQUENCE),
        ({"lane": 0}, Refusal.UNKNOWN_LANE),
        ({"lane": 2}, Refusal.UNKNOWN_LANE),
        ({"lane": layout.LANES}, Refusal.UNKNOWN_LANE),
        ({"lane": layout.LANES + 1}, Refusal.UNKNOWN_LANE),
        ({"lane": (1 << 32) - 1}, Refusal.UNKNOWN_LANE),
        ({"valid_until_ms": 999}, Refusal.EXPIRED),
        ({"valid_until_ms": 0}, Refusal.EXPIRED),
        ({"valid_until_ms": 1_000 + MAX_LIFETIME_MS + 1}, Refusal.VALID_UNTIL_TOO_FAR),
        ({"valid_until_ms": 1 << 63}, Refusal.VALID_UNTIL_TOO_FAR),
        ({"valid_until_ms": (1 << 64) - 1}, Refusal.VALID_UNTIL_TOO_FAR),
    ],
)
def test_a_wrong_header_is_refused(chain, changes, refusal):
    lane = chain.start(7)[0]
    refused(chain, replace(chain.lane_message(lane), **changes), refusal)


@pytest.mark.parametrize("valid_until", [1_000, 1_000 + MAX_LIFETIME_MS])
def test_the_bounds_of_valid_until_are_accepted(chain, valid_until):
    lane = chain.start(7)[0]
    assert chain.send(chain.lane_message(lane, valid_until_ms=valid_until)) == 0


def test_a_key_is_good_up_to_its_expiry(chain):
    lane = chain.start(7)[0]
    chain.durable["lane"]["expires_ms"][lane] = 1_500
    chain.close()
    chain.open(1_500)
    assert chain.send(chain.lane_message(lane)) == 0
    chain.close()
    chain.open(1_501)
    refused(chain, chain.lane_message(lane), Refusal.KEY_EXPIRED)


def record(kind, count=0):
    return Operation(kind=kind, count=count).encode()


QUOTE, LEG, OTHER = layout.MASS_QUOTE, layout.QUOTE_LEG, layout.CANCEL_ALL


@pytest.mark.parametrize(
    "records",
    [
        b"",
        record(LEG),
        record(QUOTE, 1),
        record(QUOTE, 2) + record(LEG),
        record(QUOTE, 1) + record(LEG) * 2,
        record(QUOTE, 1) + record(OTHER) + record(LEG),
        record(QUOTE, 65535) + record(LEG) * 30,
        record(QUOTE, 1) + record(QUOTE, 1) + record(LEG) * 2,
        record(OTHER) * 32,
        record(OTHER) * 33,
    ],
)
def test_wrong_framing_is_refused(chain, records):
    lane = chain.start(7)[0]
    refused(chain, raw_message(chain, lane, records), Refusal.BAD_FRAMING)


@pytest.mark.parametrize(
    "records",
    [
        record(QUOTE, 2) + record(LEG) * 2 + record(OTHER),
        record(QUOTE, 30) + record(LEG) * 30,
        record(QUOTE, 0) + record(OTHER),
        record(OTHER) * 31,
    ],
)
def test_right_framing_is_accepted_and_counted(chain, records):
    lane = chain.start(7)[0]
    assert chain.send(raw_message(chain, lane, records)) == 0
    assert chain.run["record_index"] == 6 + len(records) // 32


@pytest.mark.parametrize(
    ("offset", "value", "refusal"),
    [
        (7, 0, Refusal.BAD_VERSION),
        (7, 2, Refusal.BAD_VERSION),
        (6, 2, Refusal.BAD_FRAMING),
        (6, 255, Refusal.BAD_FRAMING),
        (5, 255, Refusal.BAD_FRAMING),
        # Bytes that no field names and no batch carries: the tip would cover them.
        (24, 1, Refusal.BAD_FRAMING),
        (31, 128, Refusal.BAD_FRAMING),
    ],
)
def test_a_wrong_version_or_kind_is_refused(chain, offset, value, refusal):
    lane = chain.start(7)[0]
    message = raw_message(chain, lane, record(OTHER), bytes_at={offset: value})
    refused(chain, message, refusal)


def test_rejections_are_limited_per_lane_and_second(make_chain):
    chain = make_chain(rejections_per_second=3)
    first, second = chain.start(7, 8)
    assert chain.apply_lane(first, BAD, CANCEL_ALL, BAD) == [Rejection.UNKNOWN_OPERATION, 0, 1]
    assert chain.apply_lane(first, BAD, BAD) == [1, 1]
    refused(chain, chain.lane_message(first), Refusal.REJECTION_LIMIT)
    assert chain.send(chain.lane_message(second)) == 0
    chain.close()
    chain.open(1_999)
    refused(chain, chain.lane_message(first), Refusal.REJECTION_LIMIT)
    chain.close()
    chain.open(2_000)
    assert chain.apply_lane(first, BAD) == [1]
    assert chain.durable["lane"]["rejection_count"][first] == 1
    assert chain.header["rejection_count"] == 5


def test_replay_after_reregistration_is_refused(chain):
    lane = chain.start(7)[0]
    spoken = chain.lane_message(lane)
    first_tip = tip_of(chain, lane)
    assert chain.send(spoken) == 0
    assert chain.apply_owner(3, 7, layout.REVOKE_LANE, lane=lane) == 0
    refused(chain, spoken, Refusal.UNKNOWN_LANE)
    assert chain.register(3, 7, 107, permissions=5) == lane
    # The same bytes are acceptable again, but under another tip: the old signature says nothing.
    assert tip_of(chain, lane) != first_tip
    assert tip_of(chain, lane) == initial_tip(chain.domain, chain.address(107), 3, 2)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (layout.WITHDRAW, "lane"),
        (layout.WITHDRAW, "flags"),
        (layout.WITHDRAW, "permissions"),
        (layout.WITHDRAW, "expires_ms"),
        (layout.WITHDRAW, "account"),
        (layout.WITHDRAW, "symbol"),
        (layout.REGISTER_LANE, "amount"),
        (layout.REGISTER_LANE, "lane"),
        (layout.REVOKE_LANE, "amount"),
        (layout.REVOKE_LANE, "address"),
        (layout.OWNER_TRANSFER, "address"),
        (layout.OWNER_TRANSFER, "strike"),
        (layout.LIST_INSTRUMENT, "permissions"),
        (layout.LIST_INSTRUMENT, "amount"),
        (layout.LIST_INSTRUMENT, "account"),
    ],
)
def test_fields_that_are_not_signed_must_be_zero(chain, kind, field):
    chain.start(7)
    message = chain.owner_message(3, 7, kind)
    value = b"\1" * 20 if field == "address" else 1
    changed = replace(message, operation=replace(message.operation, **{field: value}))
    refused(chain, changed, Refusal.BAD_FRAMING)


@pytest.mark.parametrize("kind", [0, 1, 31, 37, 64, 255])
def test_an_owner_message_of_another_kind_is_refused(chain, kind):
    chain.start(7)
    message = OwnerMessage(
        account=3, sequence=2, valid_until_ms=2_000, operation=OwnerOperation(kind=kind)
    )
    refused(chain, message, Refusal.BAD_FRAMING)


@pytest.mark.parametrize(
    ("account", "sequence", "refusal"),
    [
        (0, 2, Refusal.WRONG_SEQUENCE),  # the house, whose owner is the operator
        (4, 1, Refusal.UNKNOWN_ACCOUNT),
        ((1 << 32) - 1, 1, Refusal.UNKNOWN_ACCOUNT),
        (3, 1, Refusal.WRONG_SEQUENCE),
        (3, 3, Refusal.WRONG_SEQUENCE),
    ],
)
def test_an_owner_message_needs_account_and_nonce(chain, account, sequence, refusal):
    chain.start(7)
    refused(chain, chain.owner_message(account, 7, layout.REVOKE_LANE, sequence), refusal)


def test_an_owner_nonce_is_used_up_even_by_a_rejection(chain):
    chain.start(7)
    assert chain.apply_owner(3, 7, layout.REVOKE_LANE, lane=9) == Rejection.UNKNOWN_LANE
    assert chain.durable["account"]["owner_nonce"][3] == 2


def test_owner_signatures_are_checked_in_a_batch_only(chain):
    chain.start(7)
    forged = chain.owner_message(3, 8, layout.WITHDRAW, address=chain.address(8), amount=5)
    genuine = chain.owner_message(3, 7, layout.WITHDRAW, address=chain.address(7), amount=5)
    assert chain.check(forged) == 0
    chain.run["batch"] = 1
    refused(chain, forged, Refusal.BAD_SIGNATURE)
    assert chain.send(genuine) == 0


def test_a_block_takes_so_many_messages_and_bytes(chain):
    lane = chain.start(7)[0]
    message = chain.lane_message(lane)
    chain.run["message_count"] = layout.MAX_MESSAGES_PER_BLOCK
    refused(chain, message, Refusal.BLOCK_FULL)
    chain.run["message_count"] = layout.MAX_MESSAGES_PER_BLOCK - 1
    chain.run["byte_count"] = layout.MAX_BLOCK_BYTES - 64 - 63
    refused(chain, message, Refusal.BLOCK_FULL)
    chain.run["byte_count"] = layout.MAX_BLOCK_BYTES - 64 - 64
    assert chain.send(message) == 0


def test_messages_need_an_open_block(chain):
    lane = chain.start(7)[0]
    chain.close()
    assert chain.check(chain.lane_message(lane)) == 0
    before = chain.state()
    assert chain.send(chain.lane_message(lane)) == Refusal.NO_OPEN_BLOCK
    assert chain.state() == before


def test_the_digest_of_messages_folds_tips_and_owner_messages(chain):
    lane = chain.start(7)[0]
    chain.close()
    chain.open(1_100)
    digest = bytes(32)
    for message in (
        chain.lane_message(lane, BAD),
        chain.owner_message(3, 7, layout.REVOKE_LANE, lane=lane),
    ):
        raw = encode_message(message)
        tip = tip_of(chain, lane)
        assert chain.send(raw) == 0
        link = keccak256(raw) if isinstance(message, OwnerMessage) else next_tip(tip, raw)
        digest = keccak256(digest + link)
        assert chain.run["messages_digest"].tobytes() == digest
