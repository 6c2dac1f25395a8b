"""Blocks and batches: live and replayed runs agree, and every broken input has its number."""

from dataclasses import replace

import numpy as np
import pytest
from tests.kernel.recorder import Recorder

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout, transition
from entresol.kernel.rejections import Invalid
from entresol.machine.memory import difference
from entresol.rollup import block as blocks
from entresol.rollup.block import Block
from entresol.rollup.claim import Journal, decode_journal
from entresol.rollup.message import Operation, encode_message

CASH = 1_000_000_000_000


@pytest.fixture
def recorder(chain, make_chain):
    return Recorder(chain, make_chain)


@pytest.fixture
def traded(recorder, place_order):
    """A batch of four blocks with deposits, trades, a bounce, a withdrawal and a lane renewed."""
    chain = recorder.chain
    _, lanes = chain.start_market(7, 8, amount=CASH)
    assert chain.close() == 0
    recorder.begin()
    buyer, seller = lanes
    recorder.open(1_100, [chain.deposit_item(9, CASH), chain.deposit_item(10, 1)])
    recorder.send(chain.lane_message(buyer, place_order(layout.BUY, 600_000, 5, slot=1)))
    recorder.send(chain.lane_message(seller, place_order(layout.SELL, 600_000, 3)))
    recorder.close()
    recorder.open(1_100)
    recorder.close()
    recorder.open(2_345)
    recorder.send(
        chain.owner_message(3, 7, layout.WITHDRAW, address=chain.address(7), amount=1_000_000)
    )
    recorder.send(chain.lane_message(seller, Operation(kind=77), place_order(1, 600_001, 2)))
    recorder.send(chain.owner_message(3, 7, layout.REVOKE_LANE, lane=buyer))
    fields = {"address": chain.address(207), "expires_ms": 10**9, "permissions": 1}
    recorder.send(chain.owner_message(3, 7, layout.REGISTER_LANE, **fields))
    recorder.close()
    recorder.open(3_000)
    recorder.send(chain.lane_message(buyer, place_order(layout.BUY, 599_999, 1, slot=2)))
    recorder.close()
    keys = {(buyer, 1): 107, (seller, 2): 108, (buyer, 4): 207}
    return recorder, recorder.signatures(keys)


def test_a_batch_reaches_the_live_state(traded):
    recorder, signatures = traded
    assert len(signatures) == 3
    status, chain = recorder.run_batch(recorder.encode(signatures))
    assert status == Invalid.VALID
    assert difference(chain.memory, recorder.chain.memory, ["STATE"]) == []
    assert chain.run["batch"] == 0


def test_the_journal_tells_what_happened(traded):
    recorder, signatures = traded
    _, chain = recorder.run_batch(recorder.encode(signatures))
    header = chain.header
    journal = decode_journal(chain.memory.read(layout.JOURNAL_BASE, 512))
    assert journal == Journal(
        encoding_version=1,
        withdrawals_root=header["withdrawal_root"].tobytes(),
        withdrawals_count=2,
        inbox_position=4,
        inbox_hash=header["inbox_hash"].tobytes(),
        first_time_ms=1_100,
        last_time_ms=3_000,
        first_block=2,
        next_block=6,
        last_header_hash=recorder.hashes[-1],
        headers_root=blocks.headers_root(recorder.hashes),
        operation_count=1 + 1 + 6 + 2 + 6 + 6 + 1,
    )
    assert not any(chain.memory.read(layout.JOURNAL_BASE + 512, layout.JOURNAL_BYTES - 512))


def test_a_second_batch_continues_the_first(traded):
    recorder, signatures = traded
    first = recorder.chain
    assert recorder.run_batch(recorder.encode(signatures))[0] == 0
    recorder.begin()
    recorder.open(4_000)
    recorder.send(first.lane_message(1))
    recorder.close()
    status, chain = recorder.run_batch(recorder.encode(recorder.signatures({(1, 4): 207})))
    assert status == 0
    journal = decode_journal(chain.memory.read(layout.JOURNAL_BASE, 512))
    assert (journal.first_block, journal.next_block, journal.operation_count) == (6, 7, 1)
    assert journal.headers_root == keccak256(bytes(32) + recorder.hashes[0])


def test_plain_blocks_replay_to_the_live_state(traded, make_chain):
    recorder, _ = traded
    chain = make_chain()
    chain.memory.copy_state_from(recorder.before.memory)
    recorder.provide_items(chain)
    for block in recorder.blocks:
        assert chain.apply_block(block) == 0
    assert difference(chain.memory, recorder.chain.memory, ["STATE"]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda signatures: signatures[:-1],
        lambda signatures: [*signatures, signatures[0]],
        lambda signatures: [signatures[1], signatures[0], signatures[2]],
        lambda signatures: [signatures[0], signatures[1], signatures[0]],
        lambda signatures: [bytes(64), *signatures[1:]],
        lambda signatures: [signatures[0], b"\xff" * 64, signatures[2]],
        lambda signatures: [],
    ],
)
def test_each_lane_needs_its_own_signature(traded, change):
    recorder, signatures = traded
    status, chain = recorder.run_batch(recorder.encode(change(signatures)))
    assert status == Invalid.SIGNATURE
    assert not any(chain.memory.read(layout.JOURNAL_BASE, layout.JOURNAL_BYTES))
    assert chain.run["batch"] == 0


def test_a_forged_owner_message_is_an_invalid_signature(recorder):
    chain = recorder.chain
    chain.start(7)
    chain.close()
    recorder.begin()
    recorder.open(2_000)
    recorder.send(chain.owner_message(3, 8, layout.WITHDRAW, address=chain.address(8), amount=1))
    recorder.close()
    assert recorder.run_batch(recorder.encode([]))[0] == Invalid.SIGNATURE


def prepare_params(**fields):
    return lambda chain: chain.set_params(**fields)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"data_kind": 1}, Invalid.BAD_PARAMS),
        ({"data_bytes": layout.BATCH_DATA_BYTES + 1}, Invalid.BAD_PARAMS),
        ({"data_bytes": (1 << 64) - 1}, Invalid.BAD_PARAMS),
        ({"l1_time": 1 << 63}, Invalid.BAD_PARAMS),
        ({"l1_time": 1 << 42}, Invalid.BAD_PARAMS),
        ({"inbox_count": layout.MAX_INBOX_ITEMS_PER_BATCH + 1}, Invalid.BAD_PARAMS),
        ({"inbox_count": (1 << 64) - 1}, Invalid.BAD_PARAMS),
        ({"inbox_count": 1}, Invalid.INBOX),
        ({"inbox_first": 3}, Invalid.INBOX),
        ({"l1_time": 0}, Invalid.VALID),
        ({"data_bytes": 0}, Invalid.BAD_ENCODING),
    ],
)
def test_params_that_do_not_fit_make_the_batch_invalid(traded, fields, status):
    recorder, signatures = traded
    data = recorder.encode(signatures)
    assert recorder.run_batch(data, prepare_params(**fields))[0] == status


def test_another_chains_batch_is_refused(traded):
    recorder, signatures = traded
    data = recorder.encode(signatures)
    for word in range(4):

        def prepare(chain, word=word):
            params = chain.memory.view(layout.PARAMS_BASE, layout.PARAMS)
            params["domain"][word] ^= np.uint64(1)

        assert recorder.run_batch(data, prepare)[0] == Invalid.BAD_PARAMS


@pytest.mark.parametrize(("time_ms", "status"), [(1_012_000, 0), (1_012_001, Invalid.BLOCK_TIME)])
def test_a_batch_may_not_run_ahead_of_l1(recorder, time_ms, status):
    recorder.begin()
    recorder.open(time_ms)
    recorder.close()
    assert recorder.run_batch(recorder.encode([]))[0] == status


def test_a_changed_inbox_item_gives_another_journal(traded):
    recorder, signatures = traded
    data = recorder.encode(signatures)

    def prepare(chain):
        chain.memory.view(layout.INBOX_ITEMS_BASE, layout.INBOX_ITEM)["l1_block"] += 1

    status, chain = recorder.run_batch(data, prepare)
    assert status == 0
    journal = decode_journal(chain.memory.read(layout.JOURNAL_BASE, 512))
    assert journal.inbox_hash != recorder.chain.header["inbox_hash"].tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_never_pass_unnoticed(traded, seed):
    """Flip published bytes: the run ends with a number, or in the very same state."""
    recorder, signatures = traded
    data = recorder.encode(signatures)
    generator = np.random.default_rng(seed)
    outcomes = set()
    for position in generator.choice(len(data), min(24, len(data)), replace=False):
        changed = bytearray(data)
        changed[position] ^= int(generator.integers(1, 256))
        status, chain = recorder.run_batch(bytes(changed))
        outcomes.add(status)
        if status == 0:
            assert difference(chain.memory, recorder.chain.memory, ["STATE"]) == []
    assert outcomes - {0}


# --- blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"number": 1}, Invalid.BLOCK_NUMBER),
        ({"number": 3}, Invalid.BLOCK_NUMBER),
        ({"time_ms": 999}, Invalid.BLOCK_TIME),
        ({"time_ms": transition.MAX_TIME_MS}, Invalid.BLOCK_TIME),
        ({"time_ms": (1 << 64) - 1}, Invalid.BLOCK_TIME),
        ({"inbox_count": 1}, Invalid.INBOX),
        ({"inbox_count": (1 << 32) - 1}, Invalid.INBOX),
    ],
)
def test_a_block_that_does_not_follow_changes_nothing(chain, changes, status):
    chain.start(7)
    chain.close()
    before = chain.state()
    block = replace(Block(number=2, time_ms=1_000), **changes)
    assert chain.apply_block(block) == status
    assert chain.state() == before


def plain_block(chain, messages, **header):
    body = b"".join(messages)
    fields = {
        "number": int(chain.header["next_block"]),
        "time_ms": chain.now,
        "message_count": len(messages),
        "byte_count": len(body),
        **header,
    }
    record = np.zeros((), layout.BLOCK_HEADER)
    for name, value in fields.items():
        record[name] = value
    chain.memory.write(layout.SCRATCH_BLOCK_BASE, record.tobytes() + body + bytes(64))
    return int(transition.apply_block(chain.base, layout.SCRATCH_BLOCK_BASE))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"zero": 1}, Invalid.BAD_ENCODING),
        ({"byte_count": 63}, Invalid.BAD_ENCODING),
        ({"byte_count": 31}, Invalid.BAD_ENCODING),
        ({"byte_count": 0}, Invalid.BAD_ENCODING),
        ({"byte_count": 65}, Invalid.BAD_ENCODING),
        ({"byte_count": 96}, Invalid.BAD_ENCODING),
        ({"message_count": 0}, Invalid.BAD_ENCODING),
        ({"message_count": 2}, Invalid.BAD_ENCODING),
        ({"message_count": layout.MAX_MESSAGES_PER_BLOCK + 1}, Invalid.TOO_LARGE),
        ({"message_count": (1 << 32) - 1}, Invalid.TOO_LARGE),
        ({"byte_count": layout.MAX_BLOCK_BYTES - 63}, Invalid.TOO_LARGE),
        ({"byte_count": (1 << 32) - 1}, Invalid.TOO_LARGE),
        ({}, Invalid.VALID),
    ],
)
def test_a_badly_framed_block_is_invalid(chain, header, status):
    lane = chain.start(7)[0]
    chain.close()
    message = encode_message(chain.lane_message(lane))
    assert plain_block(chain, [message], **header) == status


def test_a_refused_message_makes_the_block_invalid(chain):
    lane = chain.start(7)[0]
    chain.close()
    message = encode_message(chain.lane_message(lane, sequence=5))
    assert plain_block(chain, [message]) == Invalid.MESSAGE


def test_any_bytes_make_a_block_with_a_number(chain):
    """Random bytes after a right header: always Invalid, never a crash."""
    chain.start(7)
    chain.close()
    generator = np.random.default_rng(5)
    for length in range(0, 640, 3):
        body = bytearray(generator.bytes(length))
        for at in range(4, length, 64):
            body[at : at + 4] = b"\1\0\0\1"
        status = plain_block(chain, [bytes(body)])
        assert status in (Invalid.MESSAGE, Invalid.BAD_ENCODING)
        chain.run["block_open"] = 0


def test_blocks_open_and_close_in_turn(chain):
    assert chain.close() == Invalid.BLOCK_NUMBER
    assert chain.open(5) == 0
    before = chain.state()
    assert chain.open(6) == Invalid.BLOCK_NUMBER
    assert chain.state() == before
    assert chain.close() == 0
    assert chain.header["next_block"] == 2


def test_time_may_stand_still_but_not_go_back(chain):
    for time_ms, status in ((7, 0), (7, 0), (6, Invalid.BLOCK_TIME), (-1, Invalid.BLOCK_TIME)):
        assert chain.open(time_ms) == status
        if status == 0:
            chain.close()


def test_outcomes_are_reported_in_order(chain, place_order):
    _, lanes = chain.start_market(7)
    first = int(chain.run["record_index"])
    bad = Operation(kind=200, label=9, instrument=3, slot=4)
    assert chain.apply_lane(lanes[0], place_order(0, 599_000, 1), bad) == [0, 1]
    event = chain.events(layout.EVENT_OUTCOME)[-1]
    fields = ("side", "instrument", "slot", "label", "account", "price", "quantity", "index")
    assert [int(event[name]) for name in fields] == [200, 3, 4, 9, 3, lanes[0], 1, first + 1]
