"""Operations of owners and lanes that move collateral out of or between accounts."""

import pytest

from entresol.crypto import merkle
from entresol.kernel import accounts, layout
from entresol.kernel.invariants import check_invariants
from entresol.kernel.margin import initial_requirement, margin_balance
from entresol.kernel.rejections import Rejection
from entresol.rollup.message import Operation
from entresol.rollup.withdrawal import Withdrawal

CASH = 1_000_000_000


def balance(chain, account):
    return int(chain.durable["account"]["cash"][account])


def withdraw(chain, amount, recipient=b"\7" * 20):
    return chain.apply_owner(3, 7, layout.WITHDRAW, address=recipient, amount=amount)


def test_a_withdrawal_is_debited_and_proven(chain):
    chain.start(7)
    assert withdraw(chain, CASH) == Rejection.APPLIED
    assert balance(chain, 3) == 0
    assert chain.close() == 0
    leaf = Withdrawal(
        index=0, token=chain.configuration.token, recipient=b"\7" * 20, amount=CASH
    ).leaf(chain.domain)
    assert chain.header["withdrawal_root"].tobytes() == merkle.merkle_root([leaf], 32)
    assert chain.header["withdrawn"] == CASH
    assert check_invariants(chain.base) == 0


@pytest.mark.parametrize(
    ("amount", "recipient", "status"),
    [
        (0, b"\7" * 20, Rejection.AMOUNT_OUT_OF_RANGE),
        (-1, b"\7" * 20, Rejection.AMOUNT_OUT_OF_RANGE),
        (-(1 << 63), b"\7" * 20, Rejection.AMOUNT_OUT_OF_RANGE),
        (accounts.MAX_AMOUNT, b"\7" * 20, Rejection.AMOUNT_OUT_OF_RANGE),
        (CASH + 1, b"\7" * 20, Rejection.INSUFFICIENT_CASH),
        (1, bytes(20), Rejection.MALFORMED),
    ],
)
def test_a_bad_withdrawal_is_rejected_and_changes_nothing(chain, amount, recipient, status):
    chain.start(7)
    assert withdraw(chain, amount, recipient) == status
    assert (balance(chain, 3), chain.header["withdrawal_count"]) == (CASH, 0)


def test_margin_holds_collateral_back(chain, place_order):
    _, lanes = chain.start_market(7, 8, amount=CASH)
    buy, sell = place_order(layout.BUY, 600_000, 100), place_order(layout.SELL, 600_000, 100)
    assert chain.apply_lane(lanes[0], buy) == [0]
    assert chain.apply_lane(lanes[1], sell) == [0]
    # 100 lots of 0.001 at 60,000 are 6,000; the seller received them, and owes them.
    assert balance(chain, 4) > CASH
    assert balance(chain, 3) < 0
    assert withdraw(chain, 1) == Rejection.INSUFFICIENT_CASH
    recipient = b"\7" * 20
    assert (
        chain.apply_owner(4, 8, layout.WITHDRAW, address=recipient, amount=CASH)
        == Rejection.INSUFFICIENT_MARGIN
    )
    transfer = Operation(kind=layout.TRANSFER, value=CASH, account=4)
    assert chain.apply_lane(lanes[0], transfer) == [Rejection.OWNER_IS_OTHER]
    assert chain.apply_owner(4, 8, layout.WITHDRAW, address=recipient, amount=CASH // 2) == 0
    assert check_invariants(chain.base) == 0


def test_the_operator_withdraws_the_house_fees_and_nobody_else(chain, place_order):
    _, lanes = chain.start_market(7, 8, amount=CASH)
    assert chain.apply_lane(lanes[0], place_order(layout.BUY, 600_000, 100)) == [0]
    assert chain.apply_lane(lanes[1], place_order(layout.SELL, 600_000, 100)) == [0]
    fees = balance(chain, layout.HOUSE_ACCOUNT)
    assert fees > 0
    terms = {"address": b"\7" * 20, "amount": fees}
    assert chain.apply_owner(layout.HOUSE_ACCOUNT, 1, layout.WITHDRAW, **terms) == 0
    assert balance(chain, layout.HOUSE_ACCOUNT) == 0
    assert chain.durable["account"]["owner"][0].tobytes() == chain.configuration.operator
    assert check_invariants(chain.base) == 0


def test_a_forced_withdrawal_stops_at_margin(chain, place_order):
    _, lanes = chain.start_market(7, 8, amount=CASH)
    assert chain.apply_lane(lanes[0], place_order(layout.BUY, 600_000, 100)) == [0]
    assert chain.apply_lane(lanes[1], place_order(layout.SELL, 600_000, 100)) == [0]
    chain.close()
    item = chain.item(layout.INBOX_WITHDRAW, 8, recipient=b"\7" * 20, amount=(1 << 64) - 1)
    cancel = chain.item(layout.INBOX_CANCEL_ALL, 8)
    assert chain.open(2_000, [cancel, item]) == 0
    assert margin_balance(chain.base, 4) == initial_requirement(chain.base, 4)
    assert chain.header["withdrawn"] > 0
    assert check_invariants(chain.base) == 0


def test_forced_cancel_all_empties_the_books(chain, place_order):
    _, lanes = chain.start_market(7)
    orders = [place_order(layout.BUY, 590_000 + step, 3) for step in range(20)]
    assert chain.apply_lane(lanes[0], *orders) == [0] * 20
    chain.close()
    assert chain.open(2_000, [chain.item(layout.INBOX_CANCEL_ALL, 7)]) == 0
    assert chain.durable["account"]["order_count"][3] == 0
    assert chain.durable["lane"]["registration"][lanes[0]] != 0
    assert check_invariants(chain.base) == 0


def test_an_owner_transfers_to_anyone(chain):
    chain.start(7, 8)
    assert chain.apply_owner(3, 7, layout.OWNER_TRANSFER, account=4, amount=CASH) == 0
    assert (balance(chain, 3), balance(chain, 4)) == (0, 2 * CASH)
    assert check_invariants(chain.base) == 0


@pytest.mark.parametrize(
    ("receiver", "amount", "status"),
    [
        (3, 1, Rejection.SELF_TRANSFER),
        (0, 1, Rejection.UNKNOWN_ACCOUNT),
        (5, 1, Rejection.UNKNOWN_ACCOUNT),
        (layout.ACCOUNTS, 1, Rejection.UNKNOWN_ACCOUNT),
        ((1 << 32) - 1, 1, Rejection.UNKNOWN_ACCOUNT),
        (4, 0, Rejection.AMOUNT_OUT_OF_RANGE),
        (4, -5, Rejection.AMOUNT_OUT_OF_RANGE),
        (4, CASH + 1, Rejection.INSUFFICIENT_CASH),
    ],
)
def test_a_bad_owner_transfer_is_rejected(chain, receiver, amount, status):
    chain.start(7, 8)
    rejection = chain.apply_owner(3, 7, layout.OWNER_TRANSFER, account=receiver, amount=amount)
    assert rejection == status
    assert (balance(chain, 3), balance(chain, 4)) == (CASH, CASH)


def test_a_receiver_cannot_be_pushed_over_the_bound(chain):
    chain.start(7, 8)
    full = accounts.MAX_AMOUNT - 1
    chain.durable["account"]["cash"][4] = full
    status = chain.apply_owner(3, 7, layout.OWNER_TRANSFER, account=4, amount=1)
    assert status == Rejection.AMOUNT_OUT_OF_RANGE
    assert balance(chain, 4) == full


def test_a_lane_transfers_between_accounts_of_one_owner_only(chain):
    lane = chain.start(7, 8)[0]
    chain.close()
    assert chain.open(2_000, [chain.deposit_item(7, CASH, subaccount=1)]) == 0

    def transfer(receiver, **fields):
        operation = Operation(kind=layout.TRANSFER, account=receiver, **{"value": 10, **fields})
        return chain.apply_lane(lane, operation)[0]

    assert transfer(5) == Rejection.APPLIED
    assert (balance(chain, 3), balance(chain, 5)) == (CASH - 10, CASH + 10)
    assert transfer(4) == Rejection.OWNER_IS_OTHER
    assert transfer(0) == Rejection.OWNER_IS_OTHER
    assert transfer(3) == Rejection.SELF_TRANSFER
    assert transfer(6) == Rejection.UNKNOWN_ACCOUNT
    for field in ("flags", "instrument", "slot", "count", "price", "quantity"):
        assert transfer(5, **{field: 1}) == Rejection.MALFORMED


def test_only_the_operator_lists(chain):
    chain.start(7)
    fields = {"instrument_kind": 1, "tick_size": 1, "contract_size": 1}
    status = chain.apply_owner(3, 7, layout.LIST_INSTRUMENT, **fields)
    assert status == Rejection.NOT_THE_OPERATOR


def test_only_the_publisher_prices(chain):
    lane = chain.start(7)[0]
    chain.list_perpetual()
    pricing = chain.register(3, 7, 109, permissions=layout.PERMISSION_ORACLE)
    index = Operation(kind=layout.ORACLE_INDEX, value=60_000_000_000)
    assert chain.apply_lane(pricing, index) == [Rejection.NOT_A_PUBLISHER]
    assert chain.apply_lane(lane, index) == [Rejection.NOT_PERMITTED]


@pytest.mark.parametrize("kind", [0, 10, 31, 32, 64, 255])
def test_an_unknown_operation_is_rejected(chain, kind):
    lane = chain.start(7)[0]
    assert chain.apply_lane(lane, Operation(kind=kind)) == [Rejection.UNKNOWN_OPERATION]
    assert chain.header["rejection_count"] == 1
