import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import merkle
from entresol.kernel import accounts, layout
from entresol.kernel.invariants import check_invariants
from entresol.kernel.rejections import Invalid, Rejection
from entresol.kernel.transition import open_block
from entresol.rollup import inbox
from entresol.rollup.withdrawal import Withdrawal

MINIMUM = 1_000_000


def balance(chain, account):
    return int(chain.durable["account"]["cash"][account])


def withdrawn_to(chain):
    """(recipient-free) list of (account, amount) of withdrawals so far."""
    return [
        (int(event["account"]), int(event["price"]) << 32 | int(event["quantity"]))
        for event in chain.events(layout.EVENT_WITHDRAWAL)
    ]


def test_a_deposit_opens_an_account_and_the_next_tops_it_up(chain):
    first, second = chain.deposit_item(7, MINIMUM), chain.deposit_item(7, 5)
    other = chain.deposit_item(7, MINIMUM, subaccount=65535)
    assert chain.open(5, [first, second, other]) == 0
    assert (balance(chain, 3), balance(chain, 4)) == (MINIMUM + 5, MINIMUM)
    header = chain.header
    assert (header["account_count"], header["deposited"], header["withdrawal_count"]) == (
        5,
        2 * MINIMUM + 5,
        0,
    )
    assert check_invariants(chain.base) == 0


def test_the_chain_of_items_is_hashed(chain):
    raw = chain.put_items([chain.deposit_item(7, MINIMUM), chain.item(99, 7), chain.item(0, 8)])
    assert chain.open(5, [chain.deposit_item(7, MINIMUM), chain.item(99, 7), chain.item(0, 8)]) == 0
    assert chain.header["inbox_hash"].tobytes() == inbox.hash_items(raw)
    assert chain.header["inbox_position"] == 3
    assert chain.close() == 0
    chain_so_far = inbox.hash_items(raw)
    more = chain.put_items([chain.deposit_item(9, MINIMUM)])
    assert chain.open(6, [chain.deposit_item(9, MINIMUM)]) == 0
    assert chain.header["inbox_hash"].tobytes() == inbox.hash_items(more, chain_so_far)


@pytest.mark.parametrize(
    ("person", "amount", "subaccount", "status"),
    [
        (7, MINIMUM - 1, 0, Rejection.UNKNOWN_ACCOUNT),
        (7, MINIMUM, 65536, Rejection.UNKNOWN_ACCOUNT),
        (7, accounts.MAX_AMOUNT, 0, Rejection.AMOUNT_OUT_OF_RANGE),
        (7, (1 << 64) - 1, 0, Rejection.AMOUNT_OUT_OF_RANGE),
        (1, accounts.MAX_AMOUNT - 1, 0, Rejection.AMOUNT_OUT_OF_RANGE),
    ],
)
def test_a_deposit_that_cannot_be_credited_becomes_a_withdrawal(
    chain, person, amount, subaccount, status
):
    assert chain.open(4, [chain.deposit_item(1, 1)]) == 0
    assert chain.close() == 0
    assert chain.open(5, [chain.deposit_item(person, amount, subaccount)]) == 0
    assert chain.events(layout.EVENT_DEPOSIT)[-1]["status"] == status
    assert chain.header["account_count"] == 3
    assert balance(chain, 1) == 1
    leaf = Withdrawal(
        index=0,
        token=chain.configuration.token,
        recipient=chain.address(person),
        amount=amount,
    ).leaf(chain.domain)
    assert chain.close() == 0
    assert chain.header["withdrawal_root"].tobytes() == merkle.merkle_root([leaf], 32)
    assert chain.header["bounced"] == min(amount, 1 << 62)
    assert check_invariants(chain.base) == 0


def test_a_deposit_to_nobody_goes_back_to_its_sender(chain):
    item = chain.item(layout.INBOX_DEPOSIT, 7, amount=MINIMUM)
    assert chain.open(5, [item]) == 0
    assert chain.close() == 0
    leaf = Withdrawal(
        index=0, token=chain.configuration.token, recipient=chain.address(7), amount=MINIMUM
    ).leaf(chain.domain)
    assert chain.header["withdrawal_root"].tobytes() == merkle.merkle_root([leaf], 32)


def test_a_deposit_of_nothing_does_nothing(chain):
    assert chain.open(5, [chain.deposit_item(7, 0)]) == 0
    assert (chain.header["withdrawal_count"], chain.header["account_count"]) == (0, 3)


def test_when_no_account_is_free_deposits_bounce(chain):
    chain.header["account_count"] = layout.ACCOUNTS
    assert chain.open(5, [chain.deposit_item(7, MINIMUM)]) == 0
    assert chain.header["withdrawal_count"] == 1


@pytest.mark.parametrize("asked", [0, 1, MINIMUM, MINIMUM + 1, (1 << 64) - 1])
def test_a_forced_withdrawal_pays_up_to_what_is_there(chain, asked):
    items = [
        chain.deposit_item(7, MINIMUM),
        chain.item(layout.INBOX_WITHDRAW, 7, recipient=chain.address(9), amount=asked),
    ]
    assert chain.open(5, items) == 0
    paid = min(asked, MINIMUM)
    assert balance(chain, 3) == MINIMUM - paid
    assert chain.header["withdrawn"] == paid
    assert withdrawn_to(chain) == ([(3, paid)] if paid else [])
    assert check_invariants(chain.base) == 0


def test_only_the_owner_can_force(chain):
    lane = chain.start(7, 8)[0]
    items = [
        chain.item(layout.INBOX_WITHDRAW, 8, recipient=chain.address(8), amount=5, subaccount=1),
        chain.item(layout.INBOX_WITHDRAW, 9, recipient=chain.address(9), amount=5),
        chain.item(layout.INBOX_REVOKE_LANE, 8, lane=lane),
        chain.item(layout.INBOX_REVOKE_LANE, 7, lane=layout.LANES + lane),
        chain.item(layout.INBOX_REVOKE_LANE, 7, lane=0),
    ]
    assert chain.close() == 0
    assert chain.open(2_000, items) == 0
    assert chain.header["withdrawal_count"] == 0
    assert chain.durable["lane"]["registration"][lane] != 0


@pytest.mark.parametrize("kind", [layout.INBOX_REVOKE_LANE, layout.INBOX_CANCEL_ALL])
def test_a_forced_revocation_ends_the_lane(chain, kind):
    lane = chain.start(7)[0]
    held_back = chain.lane_message(lane)
    assert chain.close() == 0
    assert chain.open(2_000, [chain.item(kind, 7, lane=lane)]) == 0
    assert chain.send(held_back) != 0
    assert chain.durable["account"]["lane_count"][3] == 0


def test_items_must_be_at_hand_and_in_order(chain):
    chain.put_items([chain.deposit_item(7, MINIMUM), chain.deposit_item(8, MINIMUM)])
    before = chain.state()

    def attempt(count, **params):
        chain.set_params(**params)
        return open_block(chain.base, 5, count)

    for count, params in [
        (3, {}),
        (-1, {}),
        (1 << 40, {}),
        (2, {"inbox_count": 1}),
        (2, {"inbox_count": layout.MAX_INBOX_ITEMS_PER_BATCH + 1}),
        (2, {"inbox_count": (1 << 64) - 1}),
        (2, {"inbox_count": 2, "inbox_first": 1}),
        (2, {"inbox_first": (1 << 64) - 1}),
    ]:
        assert attempt(count, **params) == Invalid.INBOX
    assert chain.state() == before
    assert attempt(2, inbox_first=0, inbox_count=2) == 0


@pytest.mark.parametrize("wrong", [1, 7, (1 << 64) - 1])
def test_an_item_at_another_position_is_invalid(chain, wrong):
    chain.put_items([chain.deposit_item(7, MINIMUM), chain.deposit_item(8, MINIMUM)])
    items = chain.memory.view(layout.INBOX_ITEMS_BASE, layout.INBOX_ITEM, 2)
    items["position"][1] = wrong if wrong != 1 else 2
    before = chain.state()
    assert open_block(chain.base, 5, 2) == Invalid.INBOX
    assert chain.state() == before


HOSTILE = st.one_of(
    st.binary(min_size=80, max_size=80),
    st.builds(
        lambda kind, sender, recipient, subaccount, amount, lane: (
            bytes([kind, 0, 0, 0])
            + sender
            + recipient
            + subaccount.to_bytes(4, "little")
            + amount.to_bytes(8, "little")
            + lane.to_bytes(4, "little")
            + bytes(20)
        ),
        st.integers(63, 69),
        st.sampled_from([bytes(20), b"\1" * 20, b"\2" * 20, b"\3" * 20]),
        st.sampled_from([bytes(20), b"\1" * 20, b"\2" * 20, b"\3" * 20]),
        st.sampled_from([0, 0, 0, 1, 65535, 65536, (1 << 32) - 1]),
        st.one_of(
            st.integers(0, 3 * MINIMUM),
            st.sampled_from([(1 << 60) - 1, 1 << 60, 1 << 62, 1 << 63, (1 << 64) - 1]),
        ),
        st.sampled_from([0, 1, 2, layout.LANES, (1 << 32) - 1]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(items=st.lists(HOSTILE, max_size=12))
def test_any_bytes_are_consumed_and_money_stays_whole(make_chain, items):
    chain = make_chain()
    raw = b"".join(
        item + index.to_bytes(8, "little") + item[:40] for index, item in enumerate(items)
    )
    assert len(raw) == 128 * len(items)
    chain.memory.write(layout.INBOX_ITEMS_BASE, raw)
    chain.set_params(inbox_first=0, inbox_count=len(items))
    assert open_block(chain.base, 9, len(items)) == 0
    assert chain.close() == 0
    assert chain.header["inbox_position"] == len(items)
    assert check_invariants(chain.base) == 0
    assert np.all(chain.durable["account"]["cash"] >= 0)
