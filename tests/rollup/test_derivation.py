import dataclasses

import pytest
from benchmarks import codec as workload

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.kernel.rejections import Invalid
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import difference
from entresol.rollup.batch_encoder import encode_batch
from entresol.rollup.claim import EMPTY_JOURNAL
from entresol.rollup.derivation import Derivation, PostedData
from entresol.rollup.errors import DerivationError
from entresol.rollup.inbox import hash_items


@pytest.fixture(scope="module")
def chain():
    """Set-up with its deposits as record 0, five seconds of market as record 1."""
    venue, before, blocks = workload.build(seconds=3, makers=2, takers=4, seed=9)
    genesis = workload.genesis_memory(venue)
    workload.put_inbox(genesis, venue.inbox)
    first = encode_batch(genesis, [venue.opening], [])
    signatures = [venue.signature(lane) for lane in workload.first_messages(blocks)]
    second = encode_batch(workload.clone_state(before), blocks, signatures)
    return venue, first, second


def posted(index: int, data: bytes, position: int) -> PostedData:
    return PostedData(
        index=index,
        data=data,
        digest=keccak256(data),
        l1_time=workload.START_MS // 1000 + 3600,
        inbox_position=position,
    )


def derivation(venue) -> Derivation:
    return Derivation(venue.configuration, load_kernel_image())


def test_records_lead_to_the_state_of_the_sequencer(chain):
    venue, first, second = chain
    derived = derivation(venue)
    genesis_roots = derived.roots
    steps = [
        derived.take(posted(0, first, len(venue.inbox)), venue.inbox),
        derived.take(posted(1, second, len(venue.inbox)), []),
    ]
    assert [step.exit_code for step in steps] == [0, 0]
    assert steps[0].before == genesis_roots
    assert steps[0].after == steps[1].before != genesis_roots
    assert derived.roots == steps[1].after != steps[1].before
    assert difference(derived.memory, venue.memory, ["STATE"]) == []
    assert derived.inbox_position == len(venue.inbox)
    assert derived.inbox_hash == hash_items(venue.inbox)
    journal = steps[1].decoded_journal
    assert journal.inbox_hash == hash_items(venue.inbox)
    assert journal.first_block == steps[0].decoded_journal.next_block
    claim = steps[1].claim(31337, b"\x11" * 20, b"\x05" * 32)
    assert claim.journal_hash == keccak256(steps[1].journal)
    assert claim.durable_after == derived.roots.durable


@pytest.mark.parametrize("damage", ["garbage", "cut", "wrong time", "no items"])
def test_an_invalid_record_changes_nothing_and_the_next_one_goes_on(chain, damage):
    venue, first, second = chain
    derived = derivation(venue)
    data = {"garbage": b"\x01" * 99, "cut": first[:-4]}.get(damage, first)
    bad = posted(0, data, 0 if damage == "no items" else len(venue.inbox))
    if damage == "wrong time":
        bad = dataclasses.replace(bad, l1_time=5)
    before = derived.roots
    state = derived.memory.read(layout.DURABLE_BASE, 1 << 20)
    step = derived.take(bad, venue.inbox[: bad.inbox_position])
    assert step.exit_code in set(Invalid) - {Invalid.VALID}
    assert not step.is_valid
    assert step.before == step.after == derived.roots == before
    assert step.journal == EMPTY_JOURNAL
    assert derived.memory.read(layout.DURABLE_BASE, 1 << 20) == state
    assert (derived.inbox_position, derived.next_record) == (0, 1)
    assert derived.take(posted(1, first, len(venue.inbox)), venue.inbox).exit_code == 0
    assert derived.take(posted(2, second, len(venue.inbox)), []).exit_code == 0


def test_records_and_items_must_continue_where_the_last_ones_ended(chain):
    venue, first, _ = chain
    derived = derivation(venue)
    with pytest.raises(DerivationError, match="is next"):
        derived.take(posted(1, first, 0), [])
    with pytest.raises(DerivationError, match="inbox items"):
        derived.take(posted(0, first, len(venue.inbox)), venue.inbox[1:])
    with pytest.raises(DerivationError, match="128 bytes"):
        derived.take(posted(0, first, 1), [b""])
