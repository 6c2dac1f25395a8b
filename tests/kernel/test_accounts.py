import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from entresol.kernel import accounts, layout
from entresol.kernel.genesis import GenesisConfiguration, GenesisError


def find(chain, owner, subaccount):
    return int(accounts.find_account(chain.base, chain.put_address(owner), subaccount))


def open_one(chain, owner, subaccount):
    return int(accounts.open_account(chain.base, chain.put_address(owner), subaccount))


def test_reserved_accounts_exist_at_genesis(chain):
    durable = chain.durable
    assert durable["header"]["account_count"] == 3
    assert find(chain, chain.address(1), 0) == layout.OPERATOR_ACCOUNT
    assert find(chain, chain.address(2), 0) == layout.PUBLISHER_ACCOUNT
    assert find(chain, bytes(20), 0) == accounts.NO_ACCOUNT
    assert list(durable["account"]["flags"][:3]) == [
        0,
        layout.ACCOUNT_OPERATOR,
        layout.ACCOUNT_PUBLISHER,
    ]


def test_genesis_writes_what_was_configured(chain):
    header, configuration = chain.header, chain.configuration
    assert header["domain"].tobytes() == configuration.domain
    assert header["rollup"].tobytes() == configuration.rollup
    assert header["token"].tobytes() == configuration.token
    assert (header["chain_id"], header["next_block"]) == (31337, 1)
    assert header["minimum_deposit"] == configuration.minimum_deposit
    assert not any(chain.memory.read(layout.SCRATCH_HASH_BASE, layout.SCRATCH_HASH_BYTES))


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 0},
        {"rollup": bytes(20)},
        {"token": b"\1" * 19},
        {"publisher": b"\1" * 20},
        {"minimum_deposit": 0},
        {"minimum_deposit": 1 << 60},
        {"rejections_per_second": 0},
    ],
)
def test_genesis_refuses_what_no_chain_can_start_from(change):
    values = {
        "chain_id": 1,
        "rollup": b"\2" * 20,
        "token": b"\3" * 20,
        "operator": b"\1" * 20,
        "publisher": b"\4" * 20,
    }
    GenesisConfiguration(**values)
    with pytest.raises(GenesisError):
        GenesisConfiguration(**{**values, **change})


def test_a_full_table_opens_nothing(chain):
    chain.header["account_count"] = layout.ACCOUNTS
    before = chain.state()
    assert open_one(chain, b"\7" * 20, 0) == accounts.NO_ACCOUNT
    assert chain.state() == before


def test_colliding_owners_wrap_around_the_last_bucket(chain):
    last = layout.OWNER_BUCKETS - 1
    owners = [number.to_bytes(20, "big") for number in range(1, 200_000)]
    at_the_end = [
        owner
        for owner in owners
        if accounts.find_bucket(chain.base, chain.put_address(owner), 9) == last
    ][:4]
    assert len(at_the_end) == 4
    buckets = []
    for index, owner in enumerate(at_the_end):
        buckets.append(int(accounts.find_bucket(chain.base, chain.put_address(owner), 9)))
        assert open_one(chain, owner, 9) == 3 + index
    assert buckets == [last, 0, 1, 2]
    assert [find(chain, owner, 9) for owner in at_the_end] == [3, 4, 5, 6]
    assert find(chain, at_the_end[0], 8) == accounts.NO_ACCOUNT


@pytest.mark.parametrize(
    ("cash", "amount", "fits"),
    [
        (0, accounts.MAX_AMOUNT - 1, True),
        (1, accounts.MAX_AMOUNT - 1, False),
        (-5, accounts.MAX_AMOUNT - 1, True),
        (accounts.MAX_AMOUNT - 1, 1, False),
    ],
)
def test_a_balance_stays_below_the_bound(chain, cash, amount, fits):
    chain.durable["account"]["cash"][1] = cash
    assert accounts.can_receive(chain.base, 1, amount) == fits


OWNERS = st.integers(0, 40).map(lambda n: (n * 0x1000001).to_bytes(20, "little"))
SUBACCOUNTS = st.sampled_from([0, 1, 2, 65535])


class AccountIndex(RuleBasedStateMachine):
    """The owner index against a dictionary."""

    @initialize()
    def start(self):
        self.chain = make_chain_class()
        self.model = {(self.chain.address(1), 0): 1, (self.chain.address(2), 0): 2}

    @rule(owner=OWNERS, subaccount=SUBACCOUNTS)
    def look_up_or_open(self, owner, subaccount):
        found = find(self.chain, owner, subaccount)
        assert found == self.model.get((owner, subaccount), accounts.NO_ACCOUNT)
        if found == accounts.NO_ACCOUNT:
            self.model[owner, subaccount] = open_one(self.chain, owner, subaccount)

    @invariant()
    def every_account_is_found_and_numbered_once(self):
        if not hasattr(self, "chain"):
            return
        assert sorted(self.model.values()) == list(range(1, len(self.model) + 1))
        for (owner, subaccount), account in self.model.items():
            assert find(self.chain, owner, subaccount) == account


make_chain_class = None  # the Chain class; hypothesis builds the machine without fixtures


@pytest.fixture(autouse=True)
def _chain_class(make_chain):
    global make_chain_class  # noqa: PLW0603
    make_chain_class = make_chain


TestAccountIndex = AccountIndex.TestCase
TestAccountIndex.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
