from dataclasses import replace

import pytest

from entresol.crypto import eip712
from entresol.settlement.deploy import (
    Deployment,
    DeploymentError,
    Parameters,
    deploy,
    verify_deployment,
)
from entresol.settlement.l1 import L1Client
from entresol.settlement.sender import Sender

ROOTS = (b"\0\0\0\1" * 8, b"\0\0\0\2" * 8)


@pytest.mark.l1
def test_genesis_roots_are_asked_for_with_the_final_addresses(world):
    asked = []

    def roots(inputs):
        asked.append(inputs)
        return ROOTS

    parameters = Parameters(sequencer=world.address("sequencer"), minimum_deposit=77)
    deployment = deploy(
        Sender(world.client, world.secret("alice")),
        parameters=parameters,
        program_id=b"\7" * 32,
        genesis_roots=roots,
    )
    (inputs,) = asked
    assert inputs.chain_id == 31337
    assert (inputs.rollup, inputs.token) == (deployment.rollup, deployment.token)
    assert inputs.minimum_deposit == 77
    domain = eip712.domain_separator(31337, deployment.rollup)
    assert inputs.domain == deployment.domain == domain
    assert world.client.call(deployment.contract("rollup"), "domain") == domain
    assert (deployment.genesis_durable_root, deployment.genesis_volatile_root) == ROOTS
    head = world.client.call(deployment.contract("rollup"), "final_head")
    assert head == deployment.genesis_key


@pytest.mark.l1
def test_an_existing_token_is_used(world):
    deployment = deploy(
        Sender(world.client, world.secret("alice")),
        parameters=Parameters(sequencer=world.address("sequencer")),
        program_id=b"\7" * 32,
        genesis_roots=lambda inputs: ROOTS,
        token=world.deployment.token,
    )
    assert deployment.token == world.deployment.token
    assert world.client.call(deployment.contract("bridge"), "TOKEN") == world.deployment.token


@pytest.mark.l1
def test_every_chain_but_the_development_one_is_refused(world):
    client = L1Client(world.client.url)
    before = client.nonce(world.address("sequencer"))
    world.node.rpc("anvil_setChainId", 1)
    try:
        with pytest.raises(DeploymentError, match=r"chain 1 is refused.*dispute game"):
            deploy(
                Sender(client, world.secret("sequencer")),
                parameters=world.deployment.parameters,
                program_id=b"\7" * 32,
                genesis_roots=lambda inputs: ROOTS,
            )
    finally:
        world.node.rpc("anvil_setChainId", 31337)
    assert client.nonce(world.address("sequencer")) == before


@pytest.mark.l1
def test_refused_parameters_are_reported(world):
    with pytest.raises(DeploymentError, match="inbox was not created"):
        deploy(
            Sender(world.client, world.secret("alice")),
            parameters=Parameters(sequencer=world.address("sequencer"), forced_per_block=0),
            program_id=b"\7" * 32,
            genesis_roots=lambda inputs: ROOTS,
        )


@pytest.mark.l1
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain_id": 5}, "serves chain 31337"),
        ({"inbox": b"\1" * 20}, "there is no inbox"),
        ({"program_id": b"\1" * 32}, "rollup.PROGRAM_ID"),
        ({"genesis_durable_root": bytes(32)}, "rollup.GENESIS_DURABLE_ROOT"),
        ({"domain": bytes(32)}, "rollup.domain"),
        ({"parameters": {"bond": 1}}, "rollup.BOND"),
        ({"parameters": {"outflow_limit": 1}}, "bridge.OUTFLOW_LIMIT"),
        ({"parameters": {"forced_per_block": 1}}, "inbox.FORCED_PER_BLOCK"),
    ],
)
def test_verification_names_the_difference(world, change, message):
    verify_deployment(world.client, world.deployment)
    if "parameters" in change:
        change = {"parameters": replace(world.deployment.parameters, **change["parameters"])}
    with pytest.raises(DeploymentError, match=message):
        verify_deployment(world.client, replace(world.deployment, **change))


@pytest.mark.l1
def test_verification_compares_code(world):
    swapped = replace(world.deployment, bridge=world.deployment.inbox)
    with pytest.raises(DeploymentError, match="the code of bridge on L1"):
        verify_deployment(world.client, swapped)


def test_the_file_round_trips(tmp_path):
    deployment = Deployment(
        chain_id=31337, token=b"\1" * 20, inbox=b"\2" * 20, bridge=b"\3" * 20, rollup=b"\4" * 20,
        program_id=b"\5" * 32, domain=b"\6" * 32, genesis_durable_root=ROOTS[0],
        genesis_volatile_root=ROOTS[1], block=9, parameters=Parameters(sequencer=b"\7" * 20),
    )  # fmt: skip
    path = tmp_path / "folder" / "deployment.json"
    deployment.save(path)
    assert Deployment.load(path) == deployment
    with pytest.raises(DeploymentError, match="deploy first"):
        Deployment.load(tmp_path / "absent.json")
    for text in ("", "[]", "{}", '{"chain_id": 1}', deployment.to_json().replace("0x04", "0xzz")):
        with pytest.raises(DeploymentError, match="not a deployment file"):
            Deployment.from_json(text)
