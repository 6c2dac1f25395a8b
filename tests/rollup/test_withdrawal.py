import pytest

from entresol.crypto.keccak import keccak256
from entresol.rollup.errors import WithdrawalError
from entresol.rollup.withdrawal import Withdrawal, root_of_path, verify_withdrawal

DOMAIN = keccak256(b"domain")
WITHDRAWAL = Withdrawal(index=5, token=b"\x01" * 20, recipient=b"\x02" * 20, amount=3)


def test_leaf_is_five_words():
    words = DOMAIN + (5).to_bytes(32, "big") + bytes(12) + b"\x01" * 20
    words += bytes(12) + b"\x02" * 20 + (3).to_bytes(32, "big")
    assert WITHDRAWAL.leaf(DOMAIN) == keccak256(words)


def test_proof_orders_siblings_by_the_bits_of_the_index():
    path = [keccak256(bytes([n])) for n in range(32)]
    node = WITHDRAWAL.leaf(DOMAIN)
    for level, sibling in enumerate(path):
        pair = sibling + node if (5 >> level) & 1 else node + sibling
        node = keccak256(pair)
    assert root_of_path(WITHDRAWAL.leaf(DOMAIN), 5, path) == node
    assert verify_withdrawal(node, DOMAIN, WITHDRAWAL, path)
    assert not verify_withdrawal(node, DOMAIN, WITHDRAWAL, [*path[:-1], bytes(32)])
    with pytest.raises(WithdrawalError):
        verify_withdrawal(node, DOMAIN, WITHDRAWAL, path[:-1])
    with pytest.raises(WithdrawalError):
        Withdrawal(index=1 << 32, token=b"", recipient=b"", amount=0).leaf(DOMAIN)
