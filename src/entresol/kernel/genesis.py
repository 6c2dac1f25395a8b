"""The first state: a header and the three reserved accounts, fixed by one configuration."""

import ctypes
from dataclasses import dataclass
from typing import Final

from entresol.crypto import eip712
from entresol.kernel import layout
from entresol.kernel.accounts import open_account
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_HASH_BASE, SCRATCH_HASH_BYTES
from entresol.kernel.subset import kernel_function
from entresol.kernel.views import ACCOUNTS_ADDRESS, durable_at, field_address
from entresol.kernel.withdrawals import update_withdrawal_root
from entresol.kernel.words import OPERAND

_ADDRESS_BYTES: Final = 20
_HOUSE_OWNER: Final = field_address(ACCOUNTS_ADDRESS, layout.ACCOUNT, "owner")
"""Machine address of the house account's owner: account 0 is the first record of the table."""


class GenesisError(ValueError):
    """A genesis configuration that no chain can start from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisConfiguration:
    """Everything that distinguishes one chain's first state from another's.

    Addresses are 20 raw bytes.  Raises GenesisError when a value is out of range.
    """

    chain_id: int
    rollup: bytes
    """The L1 contract; with the chain id it makes the EIP-712 domain."""
    token: bytes
    """The collateral ERC-20."""
    operator: bytes
    """Owner of account 1, which lists instruments, and of the house account's fees."""
    publisher: bytes
    """Owner of account 2, whose lanes carry oracle prices."""
    minimum_deposit: int = 1_000_000
    """Least deposit that opens an account, in micro-collateral."""
    rejections_per_second: int = 200
    """Rejected operations that one lane may have in a second of kernel time."""

    def __post_init__(self) -> None:
        for name in ("rollup", "token", "operator", "publisher"):
            value = getattr(self, name)
            if len(value) != _ADDRESS_BYTES or not any(value):
                raise GenesisError(f"{name} must be a non-zero address of 20 bytes.")
        if self.operator == self.publisher:
            raise GenesisError("operator and publisher must be different addresses.")
        if not 0 < self.chain_id < 1 << 63:
            raise GenesisError(f"chain id {self.chain_id} must lie between 1 and 2^63 - 1.")
        if not 0 < self.minimum_deposit < 1 << 60:
            raise GenesisError("minimum_deposit must be positive and below 2^60.")
        if not 0 < self.rejections_per_second < 1 << 31:
            raise GenesisError("rejections_per_second must be positive and below 2^31.")

    @property
    def domain(self) -> bytes:
        """The EIP-712 domain separator, which every signature and tip is bound to."""
        return eip712.domain_separator(self.chain_id, self.rollup)


@kernel_function
def _write_counters(
    memory: int, chain_id: int, minimum_deposit: int, rejections_per_second: int
) -> None:
    durable = durable_at(memory + DURABLE_BASE)
    header = durable.header
    header.chain_id = chain_id
    header.encoding_version = layout.ENCODING_VERSION
    header.next_block = 1
    header.next_registration = 1
    header.lane_count = 1
    header.account_count = layout.OPERATOR_ACCOUNT
    header.minimum_deposit = minimum_deposit
    header.rejections_per_second = rejections_per_second
    update_withdrawal_root(memory)


@kernel_function
def _open_reserved(memory: int, flags: int) -> None:
    account = open_account(memory, memory + OPERAND, 0)
    durable_at(memory + DURABLE_BASE).account[account].flags = flags


def build_genesis(memory: int, configuration: GenesisConfiguration) -> None:
    """Write the first state into an all-zero STATE; `memory` is the native base address.

    Uses the hash buffers in SCRATCH and leaves them zero.  Block numbers start at 1, lane and
    registration numbers too.
    """
    for field, raw in (
        ("domain", configuration.domain),
        ("rollup", configuration.rollup),
        ("token", configuration.token),
    ):
        ctypes.memmove(memory + field_address(DURABLE_BASE, layout.HEADER, field), raw, len(raw))
    _write_counters(
        memory,
        configuration.chain_id,
        configuration.minimum_deposit,
        configuration.rejections_per_second,
    )
    for owner, flags in (
        (configuration.operator, layout.ACCOUNT_OPERATOR),
        (configuration.publisher, layout.ACCOUNT_PUBLISHER),
    ):
        ctypes.memmove(memory + OPERAND, owner, len(owner))
        _open_reserved(memory, flags)
    # Fees gather in account 0; the operator, who runs the venue, is the one to withdraw them.
    # It has no entry in the owner index, so no deposit and no forced item ever names it.
    ctypes.memmove(memory + _HOUSE_OWNER, configuration.operator, len(configuration.operator))
    ctypes.memset(memory + SCRATCH_HASH_BASE, 0, SCRATCH_HASH_BYTES)
