import pytest

from entresol.settlement.compile import compile_contract

pytestmark = pytest.mark.l1


def test_mint_transfer_and_allowance(world):
    alice, bob = world.address("alice"), world.address("bob")
    world.transact("alice", "token", "mint", alice, 100)
    world.transact("alice", "token", "transfer", bob, 30)
    world.transact("alice", "token", "approve", bob, 50)
    world.transact("bob", "token", "transferFrom", alice, bob, 20)
    balances = [world.read("token", "balanceOf", who) for who in (alice, bob)]
    assert balances == [50, 50]
    assert world.read("token", "totalSupply") == 100
    assert world.read("token", "allowance", alice, bob) == 30
    assert world.read("token", "decimals") == 6


def test_every_refusal(world):
    alice, bob, nobody = world.address("alice"), world.address("bob"), bytes(20)
    assert world.refused("alice", "token", "mint", nobody, 1) == "token: receiver"
    assert world.refused("alice", "token", "transfer", nobody, 0) == "token: receiver"
    assert world.refused("alice", "token", "transfer", bob, 1) == "token: balance"
    assert world.refused("bob", "token", "transferFrom", alice, bob, 1) == "token: allowance"


def test_other_chains_are_refused(world):
    creation = compile_contract("token").creation_code
    world.node.rpc("anvil_setChainId", 10)
    try:
        with pytest.raises(Exception, match="token: development chain only"):
            world.client.rpc("eth_call", {"data": "0x" + creation.hex()}, "latest")
    finally:
        world.node.rpc("anvil_setChainId", 31337)
