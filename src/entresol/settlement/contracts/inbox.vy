# pragma version 0.4.3
# pragma evm-version prague
"""
@title Inbox
@license Apache-2.0
@notice What L1 obliges the rollup to consume, in order: deposits, and operations that the owner of
        an account forces past the sequencer.  Each item is the 128-byte record INBOX_ITEM of
        `kernel/layout.py` (little-endian fields) on a hash chain:
        `hash' = keccak256(hash || keccak256(item))`, from zero.
@dev    The chain value at every position is kept, so that any item can be proven against the
        values on both sides of it.  No owner, no upgrade.
"""

event ItemAppended:
    position: indexed(uint256)
    sender: indexed(address)
    chain_hash: bytes32
    item: Bytes[128]

KIND_DEPOSIT: constant(bytes1) = 0x40
KIND_WITHDRAW: constant(bytes1) = 0x41
KIND_CANCEL_ALL: constant(bytes1) = 0x42
KIND_REVOKE_LANE: constant(bytes1) = 0x43

MAX_AMOUNT: constant(uint256) = 2**63 - 1
LOW_1: constant(uint256) = 2**8 - 1
LOW_2: constant(uint256) = 2**16 - 1
LOW_4: constant(uint256) = 2**32 - 1
LOW_8: constant(uint256) = 2**64 - 1
ODD_BYTES: constant(uint256) = LOW_1 * (1 + 2**16 + 2**32 + 2**48)
ODD_PAIRS: constant(uint256) = LOW_2 * (1 + 2**32)
MAX_INTAKE: constant(uint256) = 8192

BRIDGE: public(immutable(address))
DEPOSITS_PER_BLOCK: public(immutable(uint256))
FORCED_PER_BLOCK: public(immutable(uint256))

count: public(uint256)
chain_hash_at: public(HashMap[uint256, bytes32])
packed_times: HashMap[uint256, uint256]
deposit_intake: uint256
forced_intake: uint256


@deploy
def __init__(bridge: address, deposits_per_block: uint256, forced_per_block: uint256):
    """
    @param bridge the only caller that may append deposits
    @param deposits_per_block cap on deposits in one L1 block
    @param forced_per_block cap on forced items in one L1 block; counted apart from the deposits,
           so that neither kind can crowd out the other
    """
    assert bridge != empty(address), "inbox: bridge"
    assert deposits_per_block > 0 and deposits_per_block <= MAX_INTAKE, "inbox: deposit cap"
    assert forced_per_block > 0 and forced_per_block <= MAX_INTAKE, "inbox: forced cap"
    BRIDGE = bridge
    DEPOSITS_PER_BLOCK = deposits_per_block
    FORCED_PER_BLOCK = forced_per_block


@external
def append_deposit(sender: address, recipient: address, subaccount: uint16, amount: uint256):
    """
    @notice Records that the bridge took `amount` from `sender` for the account
            (`recipient`, `subaccount`).
    """
    assert msg.sender == BRIDGE, "inbox: not the bridge"
    assert recipient != empty(address), "inbox: recipient"
    assert amount > 0 and amount <= MAX_AMOUNT, "inbox: amount"
    self.deposit_intake = self._take(self.deposit_intake, DEPOSITS_PER_BLOCK)
    self._append(KIND_DEPOSIT, sender, recipient, subaccount, amount, 0)


@external
def force_withdraw(recipient: address, subaccount: uint16, amount: uint256):
    """
    @notice Obliges the rollup to pay `recipient` up to `amount` of the free cash of the caller's
            account (`msg.sender`, `subaccount`).
    """
    assert recipient != empty(address), "inbox: recipient"
    assert amount > 0 and amount <= MAX_AMOUNT, "inbox: amount"
    self.forced_intake = self._take(self.forced_intake, FORCED_PER_BLOCK)
    self._append(KIND_WITHDRAW, msg.sender, recipient, subaccount, amount, 0)


@external
def force_cancel_all(subaccount: uint16):
    """
    @notice Obliges the rollup to cancel every order of the caller's account.
    """
    self.forced_intake = self._take(self.forced_intake, FORCED_PER_BLOCK)
    self._append(KIND_CANCEL_ALL, msg.sender, empty(address), subaccount, 0, 0)


@external
def force_revoke_lane(subaccount: uint16, lane: uint32):
    """
    @notice Obliges the rollup to revoke a session key of the caller's account.
    """
    self.forced_intake = self._take(self.forced_intake, FORCED_PER_BLOCK)
    self._append(KIND_REVOKE_LANE, msg.sender, empty(address), subaccount, 0, lane)


@external
@view
def time_of(position: uint256) -> uint256:
    """
    @notice L1 time, in seconds, at which the item at `position` was appended.
    """
    assert position < self.count, "inbox: no such item"
    return (self.packed_times[position // 4] >> (64 * (position % 4))) & LOW_8


@internal
@view
def _take(intake: uint256, limit: uint256) -> uint256:
    """
    @dev A counter word is `block number << 64 | items in that block`.
    """
    used: uint256 = 0
    if intake >> 64 == block.number:
        used = intake & LOW_8
    assert used < limit, "inbox: block is full"
    return block.number << 64 | (used + 1)


@internal
def _append(
    kind: bytes1,
    sender: address,
    recipient: address,
    subaccount: uint16,
    amount: uint256,
    lane: uint32,
):
    position: uint256 = self.count
    item: Bytes[128] = concat(
        kind,
        empty(bytes3),
        convert(sender, bytes20),
        convert(recipient, bytes20),
        self._little_endian_4(convert(subaccount, uint256)),
        self._little_endian_8(amount),
        self._little_endian_4(convert(lane, uint256)),
        empty(bytes4),
        self._little_endian_8(block.number),
        self._little_endian_8(block.timestamp),
        self._little_endian_8(position),
        empty(bytes8),
        empty(bytes32),
    )
    chain_hash: bytes32 = keccak256(concat(self.chain_hash_at[position], keccak256(item)))
    self.chain_hash_at[position + 1] = chain_hash
    self.packed_times[position // 4] |= block.timestamp << (64 * (position % 4))
    self.count = position + 1
    log ItemAppended(position=position, sender=sender, chain_hash=chain_hash, item=item)


@internal
@pure
def _little_endian_8(number: uint256) -> bytes8:
    """
    @dev Callers pass numbers below 2**64; three swaps of halves, quarters and bytes.
    """
    swapped: uint256 = (number >> 32) | ((number & LOW_4) << 32)
    swapped = ((swapped >> 16) & ODD_PAIRS) | ((swapped & ODD_PAIRS) << 16)
    swapped = ((swapped >> 8) & ODD_BYTES) | ((swapped & ODD_BYTES) << 8)
    return convert(convert(swapped, uint64), bytes8)


@internal
@pure
def _little_endian_4(number: uint256) -> bytes4:
    """
    @dev Callers pass numbers below 2**32.
    """
    swapped: uint256 = (number >> 16) | ((number & LOW_2) << 16)
    swapped = ((swapped >> 8) & ODD_BYTES) | ((swapped & ODD_BYTES) << 8)
    return convert(convert(swapped, uint32), bytes4)
