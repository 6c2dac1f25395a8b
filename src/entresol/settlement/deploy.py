"""Deploys the L1 contracts and keeps what was deployed as one JSON file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from entresol.crypto import eip712
from entresol.crypto.keccak import keccak256
from entresol.settlement import rlp
from entresol.settlement.anvil import DEVELOPMENT_CHAIN_ID
from entresol.settlement.compile import CONTRACTS, Artifact, compile_contract
from entresol.settlement.l1 import Contract, L1Client
from entresol.settlement.records import Outcome, genesis_key
from entresol.settlement.sender import Sender, write_atomically
from entresol.settlement.transaction import Call

NO_DISPUTE_GAME: Final = bytes.fromhex("000000000000000000000000000000000000dead")
"""Stands where the dispute game will stand; nobody has its key, so no claim can be cancelled."""

DEPLOY_GAS: Final = 6_000_000


class DeploymentError(Exception):
    """Nothing was deployed, or what is on L1 is not what was expected; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What an instance is deployed with; money in the token's units, bond in wei, times in seconds.

    The defaults are for the development chain: minutes where a real instance has days.
    """

    sequencer: bytes
    dispute: bytes = NO_DISPUTE_GAME
    minimum_deposit: int = 1_000_000
    outflow_limit: int = 1_000_000_000_000
    outflow_window: int = 86_400
    deposits_per_block: int = 256
    forced_per_block: int = 64
    bond: int = 10**17
    challenge_window: int = 60
    force_delay: int = 43_200


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisInputs:
    """What the genesis image must know about L1: chain, rollup address, token, EIP-712 domain."""

    chain_id: int
    rollup: bytes
    token: bytes
    domain: bytes
    minimum_deposit: int


GenesisRoots = Callable[[GenesisInputs], tuple[bytes, bytes]]
"""Builds the genesis image; returns its durable and its volatile root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployed instance: everything a node, a client or a verifier needs to find it."""

    chain_id: int
    token: bytes
    inbox: bytes
    bridge: bytes
    rollup: bytes
    program_id: bytes
    domain: bytes
    genesis_durable_root: bytes
    genesis_volatile_root: bytes
    block: int
    parameters: Parameters

    @property
    def genesis(self) -> Outcome:
        """The outcome that the first claim starts from."""
        return Outcome.genesis(self.genesis_durable_root, self.genesis_volatile_root)

    @property
    def genesis_key(self) -> bytes:
        """The key of the state before the first data record."""
        return genesis_key(self.domain, self.program_id, self.genesis)

    def contract(self, name: str) -> Contract:
        """The deployed contract of that name."""
        return Contract(name, getattr(self, name))

    def to_json(self) -> str:
        """The file's text: bytes as 0x-prefixed hexadecimal."""
        return json.dumps(_hexadecimal(asdict(self)), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The deployment in a file's text; raises DeploymentError when it is not one."""
        try:
            values = _raw(json.loads(text))
            return cls(**{**values, "parameters": Parameters(**values["parameters"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DeploymentError(f"this is not a deployment file: {error}") from error

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_atomically(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; raises DeploymentError when it is absent or not a deployment."""
        try:
            return cls.from_json(path.read_text())
        except OSError as error:
            raise DeploymentError(f"{path} cannot be read: deploy first") from error


def _hexadecimal(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {name: _hexadecimal(member) for name, member in value.items()}
    return value


def _raw(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, dict):
        return {name: _raw(member) for name, member in value.items()}
    return value


def created_address(deployer: bytes, nonce: int) -> bytes:
    """Address of the contract that `deployer` creates with its transaction number `nonce`."""
    return keccak256(rlp.encode([deployer, nonce]))[12:]


def deploy(
    sender: Sender,
    *,
    parameters: Parameters,
    program_id: bytes,
    genesis_roots: GenesisRoots,
    token: bytes | None = None,
) -> Deployment:
    """Deploy inbox, bridge and rollup (and the development token when `token` is None).

    The three contracts name each other and the genesis state names the rollup, so the addresses
    are computed first, from the deployer's nonce.  Raises DeploymentError on any chain but the
    development one: the dispute game is not there yet, and without it a false claim that nobody
    can cancel would pay out.
    """
    client = sender.client
    if client.chain_id != DEVELOPMENT_CHAIN_ID:
        raise DeploymentError(
            f"chain {client.chain_id} is refused: without the dispute game no false claim can be "
            f"cancelled, so deploy only on the development chain {DEVELOPMENT_CHAIN_ID}"
        )
    names = [name for name in CONTRACTS if name != "token" or token is None]
    first = client.nonce(sender.address)
    addresses = {
        name: created_address(sender.address, first + offset) for offset, name in enumerate(names)
    }
    if token is not None:
        addresses["token"] = token
    domain = eip712.domain_separator(client.chain_id, addresses["rollup"])
    durable, volatile = genesis_roots(
        GenesisInputs(
            chain_id=client.chain_id,
            rollup=addresses["rollup"],
            token=addresses["token"],
            domain=domain,
            minimum_deposit=parameters.minimum_deposit,
        )
    )
    deployment = Deployment(
        chain_id=client.chain_id,
        **addresses,
        program_id=program_id,
        domain=domain,
        genesis_durable_root=durable,
        genesis_volatile_root=volatile,
        block=client.head().number,
        parameters=parameters,
    )
    blocks = [_create(sender, name, deployment) for name in names]
    deployment = replace(deployment, block=blocks[0])
    verify_deployment(client, deployment)
    return deployment


def constructor_arguments(name: str, deployment: Deployment) -> tuple[Any, ...]:
    """Arguments of the contract's constructor, addresses as 20 bytes."""
    parameters = deployment.parameters
    if name == "token":
        return ()
    if name == "inbox":
        return (deployment.bridge, parameters.deposits_per_block, parameters.forced_per_block)
    if name == "bridge":
        return (
            *(deployment.token, deployment.inbox, deployment.rollup, parameters.minimum_deposit),
            *(parameters.outflow_limit, parameters.outflow_window),
        )
    return (
        *(deployment.program_id, deployment.genesis_durable_root),
        *(deployment.genesis_volatile_root, deployment.inbox, parameters.sequencer),
        *(parameters.dispute, parameters.bond, parameters.challenge_window),
        parameters.force_delay,
    )


def creation_data(artifact: Artifact, arguments: tuple[Any, ...]) -> bytes:
    """Creation code followed by the arguments, which are all static words."""
    words = [
        value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")
        for value in arguments
    ]
    return artifact.creation_code + b"".join(words)


def _create(sender: Sender, name: str, deployment: Deployment) -> int:
    """Send the contract's creation; the block that holds it."""
    data = creation_data(compile_contract(name), constructor_arguments(name, deployment))
    receipt = sender.send(Call(to=b"", data=data, gas_limit=DEPLOY_GAS), f"deploy {name}")
    expected = getattr(deployment, name)
    if not receipt.succeeded or receipt.contract != expected:
        raise DeploymentError(
            f"{name} was not created at 0x{expected.hex()}: its constructor refused the "
            "parameters, or another transaction of the same account came between"
        )
    return receipt.block


def verify_deployment(client: L1Client, deployment: Deployment) -> None:
    """Compare what L1 holds with `deployment`; raises DeploymentError that names the difference."""
    if client.chain_id != deployment.chain_id:
        raise DeploymentError(
            f"the node serves chain {client.chain_id}, the deployment is on {deployment.chain_id}"
        )
    for name in ("token", "inbox", "bridge", "rollup"):
        if not client.code(getattr(deployment, name)):
            raise DeploymentError(f"there is no {name} at 0x{getattr(deployment, name).hex()}")
    for name in ("inbox", "bridge", "rollup"):
        runtime = compile_contract(name).runtime_code
        if not client.code(getattr(deployment, name)).startswith(runtime):
            raise DeploymentError(f"the code of {name} on L1 is not the code of this release")
    for name, values in _expectations(deployment).items():
        contract = deployment.contract(name)
        for function, expected in values.items():
            found = client.call(contract, function)
            if found != expected:
                raise DeploymentError(
                    f"{name}.{function} is {_hexadecimal(found)} on L1, not "
                    f"{_hexadecimal(expected)}"
                )


def _expectations(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Value of every immutable, by contract and getter."""
    parameters = deployment.parameters
    return {
        "inbox": {
            "BRIDGE": deployment.bridge,
            "DEPOSITS_PER_BLOCK": parameters.deposits_per_block,
            "FORCED_PER_BLOCK": parameters.forced_per_block,
        },
        "bridge": {
            "TOKEN": deployment.token,
            "INBOX": deployment.inbox,
            "ROLLUP": deployment.rollup,
            "MINIMUM_DEPOSIT": parameters.minimum_deposit,
            "OUTFLOW_LIMIT": parameters.outflow_limit,
            "OUTFLOW_WINDOW": parameters.outflow_window,
        },
        "rollup": {
            "domain": deployment.domain,
            "PROGRAM_ID": deployment.program_id,
            "GENESIS_DURABLE_ROOT": deployment.genesis_durable_root,
            "GENESIS_VOLATILE_ROOT": deployment.genesis_volatile_root,
            "INBOX": deployment.inbox,
            "SEQUENCER": parameters.sequencer,
            "DISPUTE": parameters.dispute,
            "BOND": parameters.bond,
            "CHALLENGE_WINDOW": parameters.challenge_window,
            "FORCE_DELAY": parameters.force_delay,
        },
    }
