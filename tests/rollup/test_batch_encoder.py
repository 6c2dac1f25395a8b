import random
import struct

import numpy as np
import pytest
from benchmarks import codec as workload
from tests.kernel.test_batch_codec import mutate

from entresol.kernel import layout
from entresol.kernel.rejections import Invalid
from entresol.machine import execute
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import Memory, difference
from entresol.rollup.batch_encoder import BatchEncoder, encode_batch
from entresol.rollup.block import Block, decode_block, encode_block
from entresol.rollup.errors import BatchEncodingError, BlockError


@pytest.fixture(scope="module")
def market():
    """The reference workload for ten seconds: venue, state before, plain blocks, signatures."""
    venue, before, blocks = workload.build(seconds=10, makers=4, takers=8, seed=3)
    signatures = [venue.signature(lane) for lane in workload.first_messages(blocks)]
    return venue, before, blocks, signatures


def params_of(venue, data: bytes) -> bytes:
    params = np.zeros((), layout.PARAMS)
    params["domain"] = struct.unpack("<4Q", venue.domain)
    params["data_bytes"] = len(data)
    params["l1_time"] = workload.START_MS // 1000 + 3600
    params["inbox_first"] = venue.people
    return params.tobytes()


def test_a_batch_of_the_market_runs_natively_and_in_the_machine(market):
    venue, before, blocks, signatures = market
    encoding = workload.clone_state(before)
    data = encode_batch(encoding, blocks, signatures)
    assert difference(encoding, venue.memory, ["STATE"]) == []
    running = workload.clone_state(before)
    run = execute.compare(running, load_kernel_image(), params_of(venue, data), data, b"")
    assert run.exit_code == 0
    assert difference(running, venue.memory, ["STATE"]) == []
    assert run.system_calls["ecrecover"] == len(signatures)


@pytest.mark.parametrize("rounds", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_batches_end_alike_natively_and_in_the_machine(market, rounds):
    venue, before, blocks, signatures = market
    lanes = workload.first_messages(blocks[:4])
    chosen = [signatures[workload.first_messages(blocks).index(lane)] for lane in lanes]
    data = encode_batch(workload.clone_state(before), blocks[:4], chosen)
    noise = random.Random(rounds)
    codes = set()
    running = Memory()
    for _ in range(rounds):
        damaged = mutate(data, noise)
        running.copy_state_from(before)
        # Raises when native run and image differ in any byte, or when the image faults.
        run = execute.compare(running, load_kernel_image(), params_of(venue, damaged), damaged, b"")
        codes.add(run.exit_code)
        assert run.exit_code == 0 or not any(run.journal)
    assert Invalid.BAD_ENCODING in codes
    assert codes - {0} <= set(Invalid)


def test_published_bytes_stay_below_the_limit(market):
    _, before, blocks, signatures = market
    encoder = BatchEncoder(workload.clone_state(before))
    for block in blocks:
        encoder.add_block(block)
    data = encoder.finish(signatures)
    operations = sum(decode_block(block).operation_count for block in blocks)
    assert encoder.operation_count == operations
    assert encoder.block_count == len(blocks)
    assert encoder.lane_count == len(signatures)
    assert len(data) / operations < 4
    assert 0.9 * len(data) < encoder.estimated_bytes < 1.3 * len(data)


def test_finishing_early_and_going_on_gives_the_same_as_at_once(market):
    _, before, blocks, _ = market
    encoder = BatchEncoder(workload.clone_state(before))
    for block in blocks[:20]:
        encoder.add_block(block)
    early = encoder.finish([])
    for block in blocks[20:40]:
        encoder.add_block(block)
    assert encoder.finish([]) == encode_batch(workload.clone_state(before), blocks[:40], [])
    assert early == encode_batch(workload.clone_state(before), blocks[:20], [])


def test_every_wrong_signature_makes_the_batch_invalid(market):
    venue, before, blocks, signatures = market
    data = encode_batch(workload.clone_state(before), blocks[:10], [])
    lanes = workload.first_messages(blocks[:10])
    wrong = [signatures[0]] * len(lanes)
    assert len(lanes) > 1
    for chosen in ([], wrong, wrong[:-1], [bytes(64)] * len(lanes)):
        encoded = encode_batch(workload.clone_state(before), blocks[:10], chosen)
        assert encoded[8 + 64 * len(chosen) :] == data[8:]
        run = execute.run_batch_native(
            workload.clone_state(before), params_of(venue, encoded), encoded, b""
        )
        assert run.exit_code == Invalid.SIGNATURE
        assert not any(run.journal)


def test_one_deposit_and_one_withdrawal_are_a_small_batch():
    venue = workload.Venue(0, 1)
    before = workload.clone_state(venue.memory)
    withdrawal = venue.owner(
        100, 3, 2, kind=layout.WITHDRAW, amount=5_000_000, address=b"\x77" * 20
    )
    plain = venue.apply(workload.START_MS + 1000, [withdrawal])
    assert len(plain) == 64 + 224
    assert len(encode_batch(before, [plain], [])) < 150


def test_blocks_that_cannot_follow_are_refused(market):
    _, before, blocks, _ = market
    first = decode_block(blocks[0])

    def add(block: bytes) -> None:
        BatchEncoder(workload.clone_state(before)).add_block(block)

    with pytest.raises(BatchEncodingError, match="does not follow"):
        add(blocks[1])
    with pytest.raises(BatchEncodingError, match="time"):
        add(encode_block(Block(number=first.number, time_ms=5)))
    with pytest.raises(BatchEncodingError, match="does not apply"):
        add(encode_block(Block(number=first.number, time_ms=first.time_ms, inbox_count=9)))
    with pytest.raises(BlockError):
        add(blocks[0][:-1])
    broken = bytearray(first.messages[0])
    broken[7] = 9
    with pytest.raises(BatchEncodingError, match="version"):
        add(
            encode_block(
                Block(number=first.number, time_ms=first.time_ms, messages=(bytes(broken),))
            )
        )


def test_an_encoder_that_failed_takes_nothing_more(market):
    _, before, blocks, _ = market
    encoder = BatchEncoder(workload.clone_state(before))
    with pytest.raises(BatchEncodingError):
        encoder.add_block(blocks[3])
    with pytest.raises(BatchEncodingError, match="failed before"):
        encoder.add_block(blocks[0])
    with pytest.raises(BatchEncodingError):
        encoder.finish([])
    with pytest.raises(BatchEncodingError, match="at least one block"):
        BatchEncoder(Memory()).finish([])


def test_a_signature_has_64_bytes(market):
    _, before, blocks, _ = market
    with pytest.raises(BatchEncodingError, match="64"):
        encode_batch(workload.clone_state(before), blocks[:1], [bytes(65)])
