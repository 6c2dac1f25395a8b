# pragma version 0.4.3
# pragma evm-version prague
"""
@title Bridge
@license Apache-2.0
@notice Custody of one rollup instance's collateral.  Money comes in by `deposit` and goes out only
        by a Merkle proof against the withdrawals root of a final claim, once per index.
@dev    No owner, no upgrade, no pause.  What leaves is rationed: a bucket holds at most
        OUTFLOW_LIMIT and refills at OUTFLOW_LIMIT per OUTFLOW_WINDOW.  A withdrawal that does not
        fit is queued with a fixed time at which anyone may release it, at most
        `(amounts queued before it + its own) * OUTFLOW_WINDOW / OUTFLOW_LIMIT` seconds later;
        that time never moves.
"""

from ethereum.ercs import IERC20

interface Inbox:
    def append_deposit(
        sender: address, recipient: address, subaccount: uint16, amount: uint256
    ): nonpayable

interface Rollup:
    def domain() -> bytes32: view
    def final_withdrawals_root(key: bytes32) -> bytes32: view

event Deposited:
    sender: indexed(address)
    recipient: indexed(address)
    subaccount: uint16
    amount: uint256

event Withdrawn:
    index: indexed(uint256)
    recipient: indexed(address)
    amount: uint256

event WithdrawalQueued:
    index: indexed(uint256)
    recipient: indexed(address)
    amount: uint256
    payable_at: uint256

struct Queued:
    recipient: address
    amount: uint256
    payable_at: uint256

WITHDRAWAL_DEPTH: constant(uint256) = 32
MAX_AMOUNT: constant(uint256) = 2**63 - 1
MAX_WINDOW: constant(uint256) = 30 * 86400

TOKEN: public(immutable(address))
INBOX: public(immutable(address))
ROLLUP: public(immutable(address))
MINIMUM_DEPOSIT: public(immutable(uint256))
OUTFLOW_LIMIT: public(immutable(uint256))
OUTFLOW_WINDOW: public(immutable(uint256))

net_deposits: public(uint256)
spent_words: HashMap[uint256, uint256]
queue: public(HashMap[uint256, Queued])
bucket_empty_until: uint256


@deploy
def __init__(
    token: address,
    inbox: address,
    rollup: address,
    minimum_deposit: uint256,
    outflow_limit: uint256,
    outflow_window: uint256,
):
    """
    @param token the collateral, an ERC-20 that moves exactly what it is told to
    @param inbox where deposits are recorded
    @param rollup whose final claims are paid; deployed after this contract, at a known address
    @param minimum_deposit smallest deposit, in the token's units
    @param outflow_limit most that can leave at once, and per `outflow_window`
    @param outflow_window seconds in which a drained bucket refills
    """
    assert token.is_contract, "bridge: token"
    assert inbox.is_contract, "bridge: inbox"
    assert rollup != empty(address), "bridge: rollup"
    assert minimum_deposit > 0 and minimum_deposit <= MAX_AMOUNT, "bridge: minimum deposit"
    assert outflow_limit > 0 and outflow_limit <= MAX_AMOUNT, "bridge: outflow limit"
    assert outflow_window > 0 and outflow_window <= MAX_WINDOW, "bridge: outflow window"
    TOKEN = token
    INBOX = inbox
    ROLLUP = rollup
    MINIMUM_DEPOSIT = minimum_deposit
    OUTFLOW_LIMIT = outflow_limit
    OUTFLOW_WINDOW = outflow_window


@external
@nonreentrant
def deposit(amount: uint256, recipient: address, subaccount: uint16):
    """
    @notice Takes `amount` of the token from the caller and credits the rollup account
            (`recipient`, `subaccount`).
    """
    assert amount >= MINIMUM_DEPOSIT, "bridge: below the minimum deposit"
    assert self.net_deposits + amount <= MAX_AMOUNT, "bridge: deposits are full"
    assert recipient != empty(address), "bridge: recipient"
    before: uint256 = staticcall IERC20(TOKEN).balanceOf(self)
    assert extcall IERC20(TOKEN).transferFrom(
        msg.sender, self, amount, default_return_value=True
    ), "bridge: transfer failed"
    received: uint256 = staticcall IERC20(TOKEN).balanceOf(self) - before
    assert received == amount, "bridge: token took a fee"
    self.net_deposits += amount
    extcall Inbox(INBOX).append_deposit(msg.sender, recipient, subaccount, amount)
    log Deposited(sender=msg.sender, recipient=recipient, subaccount=subaccount, amount=amount)


@external
@nonreentrant
def withdraw(
    claim: bytes32,
    index: uint256,
    recipient: address,
    amount: uint256,
    proof: bytes32[WITHDRAWAL_DEPTH],
):
    """
    @notice Pays (or queues) the withdrawal at leaf `index` of the tree that the final claim with
            key `claim` committed to.  Anyone may send it; it pays `recipient`.
    """
    root: bytes32 = staticcall Rollup(ROLLUP).final_withdrawals_root(claim)
    assert index < 2**WITHDRAWAL_DEPTH, "bridge: index"
    assert recipient != empty(address), "bridge: recipient"
    leaf: bytes32 = keccak256(
        abi_encode(staticcall Rollup(ROLLUP).domain(), index, TOKEN, recipient, amount)
    )
    assert self._root_of_path(leaf, index, proof) == root, "bridge: proof"
    bit: uint256 = 1 << (index % 256)
    word: uint256 = self.spent_words[index // 256]
    assert word & bit == 0, "bridge: already withdrawn"
    self.spent_words[index // 256] = word | bit
    assert amount <= self.net_deposits, "bridge: more than net deposits"
    self.net_deposits -= amount

    payable_at: uint256 = self._payable_at(amount)
    self.bucket_empty_until = payable_at + OUTFLOW_WINDOW
    if payable_at <= block.timestamp:
        self._pay(index, recipient, amount)
    else:
        self.queue[index] = Queued(recipient=recipient, amount=amount, payable_at=payable_at)
        log WithdrawalQueued(
            index=index, recipient=recipient, amount=amount, payable_at=payable_at
        )


@external
@nonreentrant
def release(index: uint256):
    """
    @notice Pays a queued withdrawal whose time has come; anyone may send it.
    """
    queued: Queued = self.queue[index]
    assert queued.recipient != empty(address), "bridge: not queued"
    assert queued.payable_at <= block.timestamp, "bridge: not payable yet"
    self.queue[index] = empty(Queued)
    self._pay(index, queued.recipient, queued.amount)


@external
@view
def is_withdrawn(index: uint256) -> bool:
    """
    @notice True once the withdrawal at `index` was paid or queued.
    """
    return self.spent_words[index // 256] & (1 << (index % 256)) != 0


@external
@view
def payable_at(amount: uint256) -> uint256:
    """
    @notice L1 time at which a withdrawal of `amount` proven now would be payable; a time not
            after the present means at once.
    """
    return self._payable_at(amount)


@internal
@view
def _payable_at(amount: uint256) -> uint256:
    """
    @dev The bucket as one number: the time until which it would take to fill up again.  Amounts
         and windows are bounded, so the product stays far below 2**256.  Rounds up, so that
         dust withdrawals cannot leave for free.
    """
    start: uint256 = max(self.bucket_empty_until, block.timestamp)
    seconds: uint256 = (amount * OUTFLOW_WINDOW + OUTFLOW_LIMIT - 1) // OUTFLOW_LIMIT
    return start + seconds - OUTFLOW_WINDOW


@internal
def _pay(index: uint256, recipient: address, amount: uint256):
    assert extcall IERC20(TOKEN).transfer(
        recipient, amount, default_return_value=True
    ), "bridge: transfer failed"
    log Withdrawn(index=index, recipient=recipient, amount=amount)


@internal
@pure
def _root_of_path(
    leaf: bytes32, index: uint256, proof: bytes32[WITHDRAWAL_DEPTH]
) -> bytes32:
    node: bytes32 = leaf
    for level: uint256 in range(WITHDRAWAL_DEPTH):
        if index & (1 << level) == 0:
            node = keccak256(concat(node, proof[level]))
        else:
            node = keccak256(concat(proof[level], node))
    return node
