# pragma version 0.4.3
# pragma evm-version prague
"""
@title Development collateral
@license Apache-2.0
@notice An ERC-20 with six decimals that anyone may mint.  It stands in for a real stablecoin on
        the development chain and refuses to be deployed on any other.
"""

from ethereum.ercs import IERC20

implements: IERC20

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

DEVELOPMENT_CHAIN: constant(uint256) = 31337

name: public(constant(String[32])) = "Entresol Development Dollar"
symbol: public(constant(String[8])) = "devUSD"
decimals: public(constant(uint8)) = 6

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__():
    """
    @notice Refuses every chain but the development one.
    """
    assert chain.id == DEVELOPMENT_CHAIN, "token: development chain only"


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` out of nothing for `receiver`; that is what makes it a toy.
    """
    assert receiver != empty(address), "token: receiver"
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Lets `spender` move up to `amount` of the caller's tokens.
    """
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves `amount` from the caller to `receiver`.
    """
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Moves `amount` from `owner` to `receiver` out of the caller's allowance.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    assert allowed >= amount, "token: allowance"
    self.allowance[owner][msg.sender] = allowed - amount
    self._move(owner, receiver, amount)
    return True


@internal
def _move(owner: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "token: receiver"
    assert self.balanceOf[owner] >= amount, "token: balance"
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=owner, receiver=receiver, value=amount)
