"""Accounts: who owns one, how it is found by (owner, subaccount), and moving cash.

Kernel time is `header.last_time_ms`: from open_block on it is the open block's time.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.subset import i64, kernel_function, load_u32, multiply_wrapping, shift_right
from entresol.kernel.views import ACCOUNTS_ADDRESS, durable_at
from entresol.kernel.words import addresses_equal, copy_address

MAX_AMOUNT: Final = 1 << 60
"""Every amount moved and every balance after a deposit or transfer stays below this, in
micro-collateral, so that no sum of a few of them wraps."""

MAX_SUBACCOUNT: Final = (1 << 16) - 1
NO_ACCOUNT: Final = -1

_BUCKET_MASK: Final = layout.OWNER_BUCKETS - 1
_MIX: Final = 0x5851_F42D_4C95_7F2D
_OWNER: Final = layout.ACCOUNT.fields["owner"][1]  # type: ignore[index]
_ACCOUNT_BYTES: Final = layout.ACCOUNT.itemsize


@kernel_function
def owner_address(memory: int, account: int) -> int:
    """Native address of the 20 raw bytes of an account's owner."""
    return memory + ACCOUNTS_ADDRESS + account * _ACCOUNT_BYTES + _OWNER


@kernel_function
def _first_bucket(owner: int, subaccount: int) -> int:
    mixed = i64(subaccount)
    for limb in range(5):
        mixed = multiply_wrapping(mixed ^ load_u32(owner + 4 * limb), i64(_MIX))
        mixed = mixed ^ shift_right(mixed, 32)
    return mixed & _BUCKET_MASK


@kernel_function
def find_bucket(memory: int, owner: int, subaccount: int) -> int:
    """Bucket that holds the account of (owner, subaccount), or the empty one where it belongs.

    `owner` is the native address of 20 raw bytes.  At most half the buckets are ever full, so an
    empty one exists; the loop is bounded all the same.
    """
    durable = durable_at(memory + DURABLE_BASE)
    bucket = _first_bucket(owner, subaccount)
    for _ in range(layout.OWNER_BUCKETS):
        account = i64(durable.owner_bucket[bucket])
        if account == 0:
            return bucket
        if i64(durable.account[account].subaccount) == subaccount:
            if addresses_equal(owner_address(memory, account), owner):
                return bucket
        bucket = (bucket + 1) & _BUCKET_MASK
    return bucket


@kernel_function
def find_account(memory: int, owner: int, subaccount: int) -> int:
    """Account of (owner, subaccount), or NO_ACCOUNT; `owner` is a native address."""
    bucket = find_bucket(memory, owner, subaccount)
    account = i64(durable_at(memory + DURABLE_BASE).owner_bucket[bucket])
    if account == 0:
        return i64(NO_ACCOUNT)
    return account


@kernel_function
def open_account(memory: int, owner: int, subaccount: int) -> int:
    """Open the account of (owner, subaccount), which must not exist; NO_ACCOUNT when full."""
    durable = durable_at(memory + DURABLE_BASE)
    account = i64(durable.header.account_count)
    if account >= layout.ACCOUNTS:
        return i64(NO_ACCOUNT)
    bucket = find_bucket(memory, owner, subaccount)
    durable.owner_bucket[bucket] = account
    durable.header.account_count = account + 1
    durable.account[account].subaccount = subaccount
    copy_address(owner_address(memory, account), owner)
    return account


@kernel_function
def can_receive(memory: int, account: int, amount: int) -> bool:
    """True when `amount` (1 to MAX_AMOUNT - 1) keeps the account's cash below MAX_AMOUNT."""
    cash = i64(durable_at(memory + DURABLE_BASE).account[account].cash)
    return cash < MAX_AMOUNT - amount


@kernel_function
def move_cash(memory: int, sender: int, receiver: int, amount: int) -> None:
    """Move `amount` that both sides were checked for."""
    durable = durable_at(memory + DURABLE_BASE)
    durable.account[sender].cash = i64(durable.account[sender].cash) - amount
    durable.account[receiver].cash = i64(durable.account[receiver].cash) + amount
