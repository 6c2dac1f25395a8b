import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from entresol.kernel import layout
from entresol.kernel.invariants import check_invariants
from entresol.kernel.lanes import ALL_PERMISSIONS, LANES_PER_ACCOUNT
from entresol.kernel.rejections import Refusal, Rejection
from entresol.rollup.message import Operation, encode_message, initial_tip, next_tip


def touched(chain):
    """The batch's list of (lane, registration, key, tip)."""
    count = int(chain.run["touched_count"])
    entries = chain.memory.view(layout.SCRATCH_LANES_BASE, layout.TOUCHED_LANE, count)
    return [
        (int(e["lane"]), int(e["registration"]), e["key"].tobytes(), e["tip"].tobytes())
        for e in entries
    ]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"address": bytes(20)}, Rejection.MALFORMED),
        ({"permissions": 0}, Rejection.MALFORMED),
        ({"permissions": ALL_PERMISSIONS + 1}, Rejection.MALFORMED),
        ({"permissions": (1 << 32) - 1}, Rejection.MALFORMED),
        ({"expires_ms": 999}, Rejection.MALFORMED),
        ({"expires_ms": 1 << 63}, Rejection.MALFORMED),
        ({"expires_ms": 1_000}, Rejection.APPLIED),
    ],
)
def test_a_registration_is_checked(chain, changes, status):
    chain.start(7)
    fields = {"address": b"\7" * 20, "expires_ms": 5_000, "permissions": 1, **changes}
    assert chain.apply_owner(3, 7, layout.REGISTER_LANE, **fields) == status
    assert chain.header["lane_count"] == (3 if status == 0 else 2)


def test_one_account_cannot_take_all_lanes(chain):
    chain.start(7)
    for _ in range(LANES_PER_ACCOUNT - 1):
        chain.register(3, 7, 107)
    fields = {"address": b"\7" * 20, "expires_ms": 5_000, "permissions": 1}
    assert chain.apply_owner(3, 7, layout.REGISTER_LANE, **fields) == Rejection.LANES_FULL
    assert chain.apply_owner(3, 7, layout.REVOKE_LANE, lane=9) == 0
    assert chain.register(3, 7, 107) == 9
    assert check_invariants(chain.base) == 0


def test_when_all_lanes_are_taken_registration_is_rejected(chain):
    chain.start(7)
    chain.header["lane_count"] = layout.LANES - 1
    assert chain.register(3, 7, 107) == layout.LANES - 1
    fields = {"address": b"\7" * 20, "expires_ms": 5_000, "permissions": 1}
    assert chain.apply_owner(3, 7, layout.REGISTER_LANE, **fields) == Rejection.LANES_FULL


@pytest.mark.parametrize(
    ("lane", "status"),
    [
        (0, Rejection.UNKNOWN_LANE),
        (3, Rejection.UNKNOWN_LANE),
        (layout.LANES, Rejection.UNKNOWN_LANE),
        (layout.LANES + 1, Rejection.UNKNOWN_LANE),
        ((1 << 32) - 1, Rejection.UNKNOWN_LANE),
        (2, Rejection.LANE_NOT_OWNED),
        (1, Rejection.APPLIED),
    ],
)
def test_only_ones_own_lane_is_revoked(chain, lane, status):
    chain.start(7, 8)
    assert chain.apply_owner(3, 7, layout.REVOKE_LANE, lane=lane) == status
    registered = chain.durable["lane"]["registration"][1:3] != 0
    assert list(registered) == [status != 0, True]


@pytest.mark.parametrize(
    ("permissions", "kind", "allowed"),
    [
        (layout.PERMISSION_ORACLE, layout.CANCEL_ALL, False),
        (layout.PERMISSION_TRADE, layout.CANCEL_ALL, True),
        (layout.PERMISSION_TRADE, layout.TRANSFER, False),
        (layout.PERMISSION_TRANSFER, layout.TRANSFER, True),
        (layout.PERMISSION_TRADE | layout.PERMISSION_TRANSFER, layout.ORACLE_INDEX, False),
        (layout.PERMISSION_TRADE | layout.PERMISSION_TRANSFER, layout.ORACLE_MARK, False),
        (layout.PERMISSION_ORACLE, layout.ORACLE_INDEX, True),
        (layout.PERMISSION_TRANSFER, layout.PLACE, False),
        (layout.PERMISSION_TRANSFER, layout.CANCEL, False),
        (layout.PERMISSION_TRANSFER, layout.MASS_QUOTE, False),
        (layout.PERMISSION_TRANSFER, layout.EXPIRE, True),
    ],
)
def test_a_key_does_only_what_it_may(chain, permissions, kind, allowed):
    chain.start(7)
    lane = chain.register(3, 7, 108, permissions)
    (status,) = chain.apply_lane(lane, Operation(kind=kind))
    assert (status != Rejection.NOT_PERMITTED) == allowed


def test_live_blocks_keep_no_list_of_lanes(chain):
    lane = chain.start(7)[0]
    assert chain.send(chain.lane_message(lane)) == 0
    assert touched(chain) == []


def test_a_batch_writes_no_events(chain):
    lane = chain.start(7)[0]
    before = len(chain.events())
    chain.run["batch"] = 1
    assert chain.send(chain.lane_message(lane)) == 0
    assert len(chain.events()) == before


def test_a_batch_lists_lanes_at_their_first_message(chain):
    first, second = chain.start(7, 8)
    chain.run["batch"] = 1
    for lane in (second, first, second, first):
        assert chain.send(chain.lane_message(lane)) == 0
    assert [(lane, number) for lane, number, _, _ in touched(chain)] == [(second, 2), (first, 1)]
    assert [key for _, _, key, _ in touched(chain)] == [chain.address(108), chain.address(107)]


@pytest.mark.parametrize("by_inbox", [False, True])
def test_revoked_and_registered_again_in_one_batch_is_two_entries(chain, by_inbox):
    lane = chain.start(7)[0]
    chain.run["batch"] = 1
    assert chain.send(chain.lane_message(lane)) == 0
    last_tip = chain.durable["lane"]["tip"][lane].tobytes()
    if by_inbox:
        chain.close()
        assert chain.open(2_000, [chain.item(layout.INBOX_REVOKE_LANE, 7, lane=lane)]) == 0
    else:
        assert chain.send(chain.owner_message(3, 7, layout.REVOKE_LANE, lane=lane)) == 0
    assert chain.send(chain.lane_message(lane, sequence=2)) == Refusal.UNKNOWN_LANE
    fields = {"address": chain.address(207), "expires_ms": 10**9, "permissions": 1}
    assert chain.send(chain.owner_message(3, 7, layout.REGISTER_LANE, **fields)) == 0
    assert chain.send(chain.lane_message(lane)) == 0
    entries = touched(chain)
    assert [(entry[1], entry[2]) for entry in entries] == [
        (1, chain.address(107)),
        (2, chain.address(207)),
    ]
    assert entries[0][3] == last_tip
    assert entries[1][3] == bytes(32)


class LaneMachine(RuleBasedStateMachine):
    """Lanes of two accounts against a model that keeps key, tip and sequence of each."""

    @initialize()
    def start(self):
        self.chain = chain_class(rejections_per_second=1 << 20)
        self.lanes = {}
        self.spoken = []
        self.registrations = 0
        for lane, account, key in zip(self.chain.start(7, 8), (3, 4), (107, 108), strict=True):
            self.note_registration(lane, account, key)

    def note_registration(self, lane, account, key):
        self.registrations += 1
        tip = initial_tip(self.chain.domain, self.chain.address(key), account, self.registrations)
        self.lanes[lane] = [account, tip, 0]

    @rule(account=st.sampled_from([3, 4]), key=st.integers(107, 112))
    def register(self, account, key):
        lane = self.chain.register(account, account + 4, key)
        assert lane not in self.lanes
        self.note_registration(lane, account, key)

    @rule(account=st.sampled_from([3, 4]), lane=st.integers(0, 6))
    def revoke(self, account, lane):
        known = self.lanes.get(lane)
        expected = Rejection.UNKNOWN_LANE
        if known:
            expected = Rejection.APPLIED if known[0] == account else Rejection.LANE_NOT_OWNED
        status = self.chain.apply_owner(account, account + 4, layout.REVOKE_LANE, lane=lane)
        assert status == expected
        if status == 0:
            del self.lanes[lane]

    @precondition(lambda self: self.lanes)
    @rule(
        data=st.data(), kinds=st.lists(st.sampled_from([2, 3, 5, 9, 250]), min_size=1, max_size=31)
    )
    def speak(self, data, kinds):
        lane = data.draw(st.sampled_from(sorted(self.lanes)))
        message = self.chain.lane_message(
            lane, *(Operation(kind=kind) for kind in kinds if kind != 5)
        )
        if not message.operations:
            return
        raw = encode_message(message)
        assert self.chain.send(raw) == 0
        known = self.lanes[lane]
        known[1], known[2] = next_tip(known[1], raw), known[2] + 1
        self.spoken.append(raw)

    @precondition(lambda self: self.spoken)
    @rule(data=st.data())
    def replay(self, data):
        """An old message passes only where the sequence fits again, and then under a new tip."""
        raw = data.draw(st.sampled_from(self.spoken))
        lane, sequence = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[16:24], "little")
        known = self.lanes.get(lane)
        if known and known[2] + 1 == sequence:
            assert self.chain.check(raw) == 0
        elif known:
            assert self.chain.send(raw) == Refusal.WRONG_SEQUENCE
        else:
            assert self.chain.send(raw) == Refusal.UNKNOWN_LANE

    @invariant()
    def lanes_are_those_of_the_model(self):
        if not hasattr(self, "lanes"):
            return
        table = self.chain.durable["lane"]
        used = [lane for lane in range(64) if table["registration"][lane] != 0]
        assert used == sorted(self.lanes)
        for lane, (account, tip, sequence) in self.lanes.items():
            record = table[lane]
            assert record["tip"].tobytes() == tip
            assert (record["account"], record["sequence"]) == (account, sequence)
        assert check_invariants(self.chain.base) == 0


chain_class = None  # the Chain class; hypothesis builds the machine without fixtures


@pytest.fixture(autouse=True)
def _chain_class(make_chain):
    global chain_class  # noqa: PLW0603
    chain_class = make_chain


TestLaneMachine = LaneMachine.TestCase
TestLaneMachine.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
