"""What a node refuses to start on, before it touches any state."""

import pathlib

import pytest
from running import configuration

from entresol.kernel.genesis import GenesisConfiguration
from entresol.machine.image import load_kernel_image
from entresol.node.config import L1Config
from entresol.node.l1_link import L1Status
from entresol.node.l1_worker import LinkState, WorkerStatus
from entresol.node.metrics import Metrics
from entresol.node.node import Node, NodeError
from entresol.settlement.deploy import Deployment, Parameters


def deployment_of(genesis: GenesisConfiguration, program_id: bytes) -> Deployment:
    return Deployment(
        chain_id=genesis.chain_id,
        token=genesis.token,
        inbox=b"\2" * 20,
        bridge=b"\3" * 20,
        rollup=genesis.rollup,
        program_id=program_id,
        domain=genesis.domain,
        genesis_durable_root=bytes(32),
        genesis_volatile_root=bytes(32),
        block=0,
        parameters=Parameters(sequencer=b"\7" * 20),
    )


async def test_another_program_than_the_deployed_one_is_refused(tmp_path: pathlib.Path) -> None:
    other = bytes(byte ^ 1 for byte in load_kernel_image().program_id)
    genesis = configuration(tmp_path).genesis
    deployment_of(genesis, other).save(tmp_path / "deployment.json")
    l1 = L1Config(url="http://127.0.0.1:1", deployment=tmp_path / "deployment.json")
    node = Node(configuration(tmp_path, l1=l1, inbox_file=None))
    with pytest.raises(NodeError, match="Start the release that was deployed"):
        await node.start()
    assert not (tmp_path / "data" / "journal").exists()


def test_metrics_say_which_part_of_the_link_is_held_up_and_what_is_left_to_pay() -> None:
    metrics = Metrics()
    status = L1Status(
        block=1,
        confirmed_items=0,
        handed_items=0,
        records=0,
        final_records=0,
        follower=WorkerStatus(state=LinkState.RUNNING),
        batcher=WorkerStatus(state=LinkState.PAUSED, address=b"\1" * 20, balance=12),
        proposer=None,
    )
    metrics.note_link(status)
    text = metrics.render()[0].decode()
    assert 'entresol_l1_running{part="follower"} 1.0' in text
    assert 'entresol_l1_running{part="batcher"} 0.0' in text
    assert 'entresol_l1_balance_wei{part="batcher"} 12.0' in text
    assert 'part="proposer"' not in text
