import pytest

from entresol.crypto import merkle
from entresol.kernel import layout, withdrawals
from entresol.rollup.withdrawal import Withdrawal, verify_withdrawal


def append(chain, recipient, amount, account=3):
    at = chain.put_address(recipient)
    withdrawals.append_withdrawal(chain.base, account, at, amount)


def recipient_of(number):
    return bytes([number % 251 + 1]) * 20


def test_root_is_that_of_the_tree_of_leaves(chain):
    leaves = []
    token = chain.configuration.token
    for index in range(70):
        amount = (index * 0x9E3779B97F4A7C15 + 1) % (1 << 63)
        item = Withdrawal(index=index, token=token, recipient=recipient_of(index), amount=amount)
        leaves.append(item.leaf(chain.domain))
        append(chain, item.recipient, amount)
        if index < 9 or index in (31, 32, 62, 63, 64, 69):
            withdrawals.update_withdrawal_root(chain.base)
            root = chain.header["withdrawal_root"].tobytes()
            assert root == merkle.merkle_root(leaves, layout.WITHDRAWAL_DEPTH)
    path = merkle.merkle_proof(leaves, 41, layout.WITHDRAWAL_DEPTH)
    item = Withdrawal(
        index=41,
        token=token,
        recipient=recipient_of(41),
        amount=(41 * 0x9E3779B97F4A7C15 + 1) % (1 << 63),
    )
    assert verify_withdrawal(root, chain.domain, item, path)


def test_genesis_root_is_the_empty_tree(chain):
    empty = merkle.merkle_root([], layout.WITHDRAWAL_DEPTH)
    assert chain.header["withdrawal_root"].tobytes() == empty


def test_amounts_are_unsigned(chain):
    append(chain, recipient_of(1), -1)
    withdrawals.update_withdrawal_root(chain.base)
    leaf = Withdrawal(
        index=0,
        token=chain.configuration.token,
        recipient=recipient_of(1),
        amount=(1 << 64) - 1,
    ).leaf(chain.domain)
    root = chain.header["withdrawal_root"].tobytes()
    assert root == merkle.merkle_root([leaf], layout.WITHDRAWAL_DEPTH)


def test_event_tells_index_and_amount(chain):
    amount = (5 << 32) + 6
    append(chain, recipient_of(1), 1)
    append(chain, recipient_of(1), amount, account=9)
    event = chain.events(layout.EVENT_WITHDRAWAL)[1]
    assert (event["label"], event["price"], event["quantity"], event["account"]) == (1, 5, 6, 9)


@pytest.mark.parametrize("count", [(1 << 32) - 2, (1 << 32) - 1])
def test_the_tree_never_overflows(chain, count):
    chain.header["withdrawal_count"] = count
    full = withdrawals.withdrawals_full(chain.base)
    assert full == (count == withdrawals.MAX_WITHDRAWALS)
    before = chain.memory.read(layout.DURABLE_BASE + 4096, 4096)
    append(chain, recipient_of(1), 1)
    withdrawals.update_withdrawal_root(chain.base)
    assert chain.memory.read(layout.DURABLE_BASE + 4096, 4096) == before
