from dataclasses import replace

import pytest

from entresol.kernel import layout
from entresol.rollup.claim import Claim, decode_journal
from entresol.settlement.records import claim_key

pytestmark = pytest.mark.l1

ROOT_A, ROOT_B, ROOT_C = (bytes([0, 0, 0, number]) * 8 for number in (1, 2, 3))
PRIME = 2**31 - 2**24 + 1
UNKNOWN, PENDING, FINAL, DEAD = range(4)
WINDOW = 60


@pytest.fixture
def bond(world):
    return world.deployment.parameters.bond


@pytest.fixture
def refused(world, bond):
    """Reason with which L1 refuses a proposal that is right but for the changes."""

    def refuse(record, parent=None, *, value=None, **options):
        arguments = world.claim_arguments(record, parent, **options)
        value = bond if value is None else value
        return world.refused("proposer", "rollup", "propose", *arguments, value=value)

    return refuse


def test_a_claim_is_the_statement_of_the_rollup_package(world):
    record = world.post()
    claim = world.propose(record, withdrawals_root=ROOT_C, withdrawals_count=4)
    genesis = world.deployment.genesis
    statement = Claim(
        chain_id=31337,
        rollup=world.deployment.rollup,
        record_index=0,
        program_id=world.deployment.program_id,
        durable_before=ROOT_A,
        volatile_before=ROOT_A,
        data_record=record.digest,
        durable_after=ROOT_A,
        volatile_after=ROOT_B,
        exit_code=0,
        journal_hash=decode_journal(claim.journal).digest,
    )
    assert claim.claim_id == statement.identifier
    assert claim.key == claim_key(world.deployment.genesis_key, statement.identifier)
    assert claim.outcome == replace(
        genesis, next_record=1, volatile_root=ROOT_B, withdrawals_root=ROOT_C, withdrawals_count=4
    )
    stored = world.read("rollup", "claims", claim.key)
    assert stored == {
        "parent": world.deployment.genesis_key,
        "outcome": claim.outcome.digest,
        "withdrawals_root": ROOT_C,
        "proposer": world.address("proposer"),
    }
    assert world.read("rollup", "status", claim.key) == PENDING
    assert world.read("rollup", "status", b"\1" * 32) == UNKNOWN
    assert world.read("rollup", "status", world.deployment.genesis_key) == FINAL


def test_a_failed_run_changes_nothing(world, refused):
    first = world.propose(world.post(), withdrawals_root=ROOT_C, withdrawals_count=4)
    record = world.post(b"nonsense")
    assert refused(record, first.key, roots=(ROOT_C, ROOT_B), exit_code=202) == (
        "rollup: state after a failed run"
    )
    assert refused(record, first.key, roots=(ROOT_A, ROOT_C), exit_code=202) == (
        "rollup: state after a failed run"
    )
    assert refused(record, first.key, exit_code=202, journal=b"\0") == (
        "rollup: journal of a failed run"
    )
    assert refused(record, first.key, exit_code=2**64) == "rollup: exit code"
    claim = world.propose(record, first.key, exit_code=202)
    assert claim.outcome == replace(first.outcome, next_record=2)
    statement = Claim(
        chain_id=31337,
        rollup=world.deployment.rollup,
        record_index=1,
        program_id=world.deployment.program_id,
        durable_before=ROOT_A,
        volatile_before=ROOT_B,
        data_record=record.digest,
        durable_after=ROOT_A,
        volatile_after=ROOT_B,
        exit_code=202,
        journal_hash=decode_journal(bytes(512)).digest,
    )
    assert claim.claim_id == statement.identifier


def test_refused_statements(world, refused, bond):
    record, second = world.post(), world.post()
    genesis = world.deployment.genesis
    for value in (0, bond - 1, bond + 1):
        assert refused(record, value=value) == "rollup: bond"
    assert refused(record, b"\1" * 32, before=genesis) == "rollup: unknown parent"
    wrong = replace(genesis, last_time_ms=1)
    assert refused(record, before=wrong) == "rollup: outcome"
    assert refused(second) == "rollup: record order"
    assert refused(replace(record, l1_time=record.l1_time + 1)) == "rollup: record"
    assert refused(replace(record, data_bytes=6)) == "rollup: record"
    edge = (PRIME - 1).to_bytes(4, "big")
    above = PRIME.to_bytes(4, "big")
    for place in range(8):
        root = edge * place + above + edge * (7 - place)
        assert refused(record, roots=(root, ROOT_A)) == "rollup: durable root"
        assert refused(record, roots=(ROOT_A, root)) == "rollup: volatile root"
    world.propose(record, roots=(edge * 8, edge * 8))


def test_refused_journals(world, refused):
    world.user("alice").force_cancel_all(1)
    hash_one = world.view().inbox_hash(1)
    record = world.post()
    last = (record.l1_time + 12) * 1000
    world.user("alice").force_cancel_all(2)
    hash_two = world.view().inbox_hash(2)
    start = {
        "inbox_position": 1, "inbox_hash": hash_one, "withdrawals_count": 5,
        "first_time_ms": 70, "last_time_ms": last,
    }  # fmt: skip
    assert refused(record, journal=bytes(511)) == "rollup: journal length"
    assert refused(record, journal=bytes(512)) == "rollup: encoding version"
    assert refused(record, encoding_version=2) == "rollup: encoding version"
    assert refused(record, data_kind=1) == "rollup: data kind"
    assert refused(record, inbox_position=2, inbox_hash=hash_two) == "rollup: inbox position"
    assert refused(record, inbox_position=1) == "rollup: inbox hash"
    assert refused(record, inbox_hash=hash_one) == "rollup: inbox hash"
    assert refused(record, first_time_ms=2, last_time_ms=1) == "rollup: last time"
    assert refused(record, last_time_ms=last + 1) == "rollup: last time"
    assert refused(record, evaluation=bytes(191) + b"\1") == "rollup: reserved journal bytes"
    journal = world.journal(world.deployment.genesis, **start).encode()
    reserved = layout.JOURNAL.fields["reserved"][1]
    for offset in [*range(reserved, reserved + 56), *range(448, 512)]:
        changed = journal[:offset] + b"\1" + journal[offset + 1 :]
        if offset % 8 in (0, 7):
            assert refused(record, journal=changed) == "rollup: reserved journal bytes"

    claim = world.propose(record, **start)
    assert claim.outcome.last_time_ms == last
    second = world.post()
    ahead = {"first_time_ms": last, "last_time_ms": last}
    for changes, reason in (
        ({"withdrawals_count": 4}, "rollup: withdrawals count"),
        ({"inbox_position": 0, "inbox_hash": bytes(32)}, "rollup: inbox position"),
        ({"first_time_ms": last - 1}, "rollup: first time"),
    ):
        assert refused(second, claim.key, **{**ahead, **changes}) == reason
    world.propose(second, claim.key, inbox_position=2, inbox_hash=hash_two)


def test_a_chain_of_claims_becomes_final_in_order(world, refused):
    records = [world.post(bytes([number])) for number in range(1, 4)]
    claims, parent = [], world.deployment.genesis_key
    for record in records:
        claims.append(world.propose(record, parent, withdrawals_count=record.index))
        parent = claims[-1].key
    first, second, third = claims

    def refuse(claim, outcome=None):
        outcome = claim.outcome if outcome is None else outcome
        return world.refused("rival", "rollup", "finalise", claim.key, outcome.to_abi())

    assert refuse(first) == "rollup: window is open"
    assert refuse(second) == "rollup: parent is not the final head"
    world.pass_time(WINDOW + 1)
    assert refuse(first, second.outcome) == "rollup: outcome"
    assert refuse(third) == "rollup: parent is not the final head"
    assert refuse(replace(first, key=b"\1" * 32)) == "rollup: unknown claim"
    with pytest.raises(Exception, match="rollup: not final"):
        world.read("rollup", "final_withdrawals_root", first.key)
    for count, claim in enumerate(claims, 1):
        world.finalise(claim)
        assert world.read("rollup", "status", claim.key) == FINAL
        assert world.read("rollup", "final_head") == claim.key
        assert world.read("rollup", "final_count") == count
    assert refuse(third) == "rollup: parent is not the final head"
    view = world.view()
    assert [verdict.key for verdict in view.finals] == [claim.key for claim in claims]


def test_bonds_come_back_with_finality(world, bond):
    claim = world.propose(world.post())
    assert world.refused("proposer", "rollup", "collect") == "rollup: nothing to collect"
    world.pass_time(WINDOW + 1)
    world.finalise(claim)
    assert world.read("rollup", "credit", world.address("proposer")) == bond
    before = world.client.balance(world.address("proposer"))
    receipt = world.transact("proposer", "rollup", "collect")
    after = world.client.balance(world.address("proposer"))
    assert after == before + bond - receipt.fee
    assert world.refused("proposer", "rollup", "collect") == "rollup: nothing to collect"
    assert world.client.balance(world.deployment.rollup) == 0


def test_siblings_only_within_the_first_claims_window(world, refused):
    record = world.post()
    first = world.propose(record)
    assert refused(record) == "rollup: claim exists"
    world.pass_time(WINDOW - 10)
    sibling = world.propose(record, roots=(ROOT_C, ROOT_B), by="rival")
    assert sibling.deadline == first.deadline
    world.node.rpc("evm_setNextBlockTimestamp", first.deadline + 1)
    world.node.rpc("evm_mine")
    assert refused(record, roots=(ROOT_B, ROOT_B)) == "rollup: too late for a sibling"
    for claim in (first, sibling):
        arguments = (claim.key, claim.outcome.to_abi())
        assert world.refused("rival", "rollup", "finalise", *arguments) == "rollup: sibling lives"


def test_the_dispute_game_decides_between_siblings(world, bond):
    record = world.post()
    false = world.propose(record, roots=(ROOT_C, ROOT_B))
    true = world.propose(record, by="rival")
    other = world.propose(world.post(), true.key)

    def refuse(loser, winner, by="dispute"):
        return world.refused(by, "rollup", "cancel_claim", loser, winner)

    genesis = world.deployment.genesis_key
    assert refuse(false.key, true.key, by="rival") == "rollup: not the dispute game"
    assert refuse(b"\1" * 32, true.key) == "rollup: unknown claim"
    assert refuse(genesis, true.key) == "rollup: genesis"
    assert refuse(true.key, true.key) == "rollup: winner is the loser"
    assert refuse(true.key, other.key) == "rollup: winner is not a sibling"
    assert refuse(true.key, genesis) == "rollup: winner is not a sibling"
    world.transact("dispute", "rollup", "cancel_claim", false.key, true.key)
    assert world.read("rollup", "status", false.key) == DEAD
    assert refuse(false.key, true.key) == "rollup: dead claim"
    assert refuse(true.key, false.key) == "rollup: dead winner"
    assert world.read("rollup", "credit", world.address("rival")) == bond
    world.pass_time(WINDOW + 1)
    arguments = (false.key, false.outcome.to_abi())
    assert world.refused("rival", "rollup", "finalise", *arguments) == "rollup: dead claim"
    world.finalise(true)
    world.finalise(other)


def test_a_dead_claim_kills_its_descendants(world, refused, bond):
    record = world.post()
    second, third = world.post(), world.post()
    false = world.propose(record, roots=(ROOT_C, ROOT_B))
    true = world.propose(record, by="rival")
    child = world.propose(second, false.key, by="alice")
    grandchild = world.propose(third, child.key, by="bob")
    assert world.refused("bob", "rollup", "discard", child.key) == "rollup: parent lives"
    world.transact("dispute", "rollup", "cancel_claim", false.key, true.key)
    assert refused(second, false.key) == "rollup: dead parent"
    assert world.refused("bob", "rollup", "discard", grandchild.key) == "rollup: parent lives"
    assert world.refused("bob", "rollup", "discard", b"\1" * 32) == "rollup: unknown claim"
    view = world.view()
    assert [view.is_dead(claim.key) for claim in (false, true, child, grandchild)] == [
        True, False, True, True,
    ]  # fmt: skip
    world.transact("rival", "rollup", "discard", child.key)
    world.transact("rival", "rollup", "discard", grandchild.key)
    assert world.refused("bob", "rollup", "discard", child.key) == "rollup: dead claim"
    assert world.refused("bob", "rollup", "discard", true.key) == "rollup: parent lives"
    credits = [world.read("rollup", "credit", world.address(n)) for n in ("alice", "bob", "rival")]
    assert credits == [bond, bond, bond]
    world.pass_time(WINDOW + 1)
    world.finalise(true)
    # The contract holds exactly the bonds it still owes.
    assert world.client.balance(world.deployment.rollup) == 4 * bond


def test_the_same_statement_can_stand_on_either_sibling(world):
    """Two parents with equal states but different journals: neither can block the other's child."""
    record, second = world.post(), world.post()
    lying = world.propose(record, withdrawals_root=ROOT_C, withdrawals_count=9)
    honest = world.propose(record)
    on_lying = world.propose(second, lying.key, withdrawals_root=ROOT_B, withdrawals_count=9)
    on_honest = world.propose(second, honest.key, withdrawals_root=ROOT_B, withdrawals_count=9)
    assert on_lying.claim_id == on_honest.claim_id
    assert on_lying.key != on_honest.key
