"""What holds for the contracts' sources and constructors as a whole."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout, transition
from entresol.rollup import limits
from entresol.settlement import compile as compile_module
from entresol.settlement import deploy, records
from entresol.settlement.compile import CODE_LIMIT_BYTES, CONTRACTS, CompileError, compile_contract

SOURCES = Path(compile_module.__file__).parent / "contracts"
NOBODY = bytes(20)
MONTH = 30 * 86_400


def constants(name):
    """Integer constants of a contract's source by name, computed from their own text."""
    text = (SOURCES / f"{name}.vy").read_text()
    found = {}
    for key, value in re.findall(r"^(\w+): constant\(uint256\) = ([^#\n]+)", text, re.MULTILINE):
        found[key] = eval(value, {}, found)
    kinds = re.findall(r"^(KIND_\w+): constant\(bytes1\) = (0x\w\w)", text, re.MULTILINE)
    return found | {key: int(value, 16) for key, value in kinds}


def test_constants_are_those_of_the_layout():
    inbox, bridge, rollup = (constants(name) for name in ("inbox", "bridge", "rollup"))
    assert inbox["KIND_DEPOSIT"] == layout.INBOX_DEPOSIT
    assert inbox["KIND_WITHDRAW"] == layout.INBOX_WITHDRAW
    assert inbox["KIND_CANCEL_ALL"] == layout.INBOX_CANCEL_ALL
    assert inbox["KIND_REVOKE_LANE"] == layout.INBOX_REVOKE_LANE
    assert inbox["MAX_INTAKE"] == layout.MAX_INBOX_ITEMS_PER_BATCH
    assert bridge["WITHDRAWAL_DEPTH"] == layout.WITHDRAWAL_DEPTH
    assert rollup["ENCODING_VERSION"] == layout.ENCODING_VERSION
    assert rollup["JOURNAL_BYTES"] == layout.JOURNAL.itemsize
    assert rollup["MAX_INBOX_ITEMS_PER_BATCH"] == layout.MAX_INBOX_ITEMS_PER_BATCH
    assert rollup["MAX_BLOBS"] == limits.MAX_BLOBS
    assert rollup["BLOB_DATA_BYTES"] == limits.BLOB_DATA_BYTES
    assert rollup["MAX_CALLDATA_BYTES"] == limits.MAX_CALLDATA_BATCH_BYTES
    assert rollup["CHUNK_BYTES"] == limits.CALLDATA_CHUNK_BYTES
    assert rollup["CHUNK_DEPTH"] == limits.CALLDATA_CHUNK_DEPTH
    assert rollup["CLOCK_SLACK"] == records.CLOCK_SLACK_SECONDS
    assert rollup["CLOCK_SLACK"] * 1000 == transition.MAX_AHEAD_OF_L1_MS
    assert (rollup["BLOBS"], rollup["CALLDATA"]) == (records.BLOBS, records.CALLDATA)
    text = (SOURCES / "rollup.vy").read_text()
    assert f"0x{keccak256(bytes(layout.JOURNAL.itemsize)).hex()}" in text


def test_journal_offsets_are_those_of_the_layout():
    text = (SOURCES / "rollup.vy").read_text()
    offsets = {name: field[1] for name, field in layout.JOURNAL.fields.items()}
    numbers = re.findall(r"(?:== |: uint256 = )?self\._number_at\(journal, (\d+)\)", text)
    words = re.findall(r"extract32\(journal, (\d+)\)", text)
    named = ("encoding_version", "data_kind", "withdrawals_count", "inbox_position",
             "first_time_ms", "last_time_ms")  # fmt: skip
    assert {int(number) for number in numbers} == {offsets[name] for name in named}
    assert {int(word) for word in words} == {offsets["inbox_hash"], offsets["withdrawals_root"]}


def test_every_refusal_names_its_contract():
    for name in CONTRACTS:
        text = (SOURCES / f"{name}.vy").read_text()
        statements = re.split(r"\n(?=\s*(?:assert|log|return|self|raise)\b)", text)
        asserts = [part for part in statements if part.lstrip().startswith("assert ")]
        reasons = re.findall(r', "([^"]+)"\n', "\n".join(asserts) + "\n")
        assert len(reasons) >= len(asserts) > 0
        assert all(reason.startswith(f"{name}: ") for reason in reasons)


def test_every_contract_fits_and_is_compiled_once():
    for name in CONTRACTS:
        artifact = compile_contract(name)
        assert 0 < len(artifact.runtime_code) <= CODE_LIMIT_BYTES
        assert compile_contract(name) is artifact


def test_other_compilers_and_names_are_refused(monkeypatch):
    with pytest.raises(CompileError, match="there is no contract 'vault'"):
        compile_contract("vault")
    monkeypatch.setattr(compile_module.vyper, "__version__", "0.5.0")
    with pytest.raises(CompileError, match=re.escape("pip install vyper==0.4.3")):
        compile_module._compile.__wrapped__("token")


@pytest.mark.l1
@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("inbox", {"bridge": NOBODY}, "inbox: bridge"),
        ("inbox", {"deposits_per_block": 0}, "inbox: deposit cap"),
        ("inbox", {"deposits_per_block": 8193}, "inbox: deposit cap"),
        ("inbox", {"forced_per_block": 0}, "inbox: forced cap"),
        ("inbox", {"forced_per_block": 8193}, "inbox: forced cap"),
        ("bridge", {"token": b"\1" * 20}, "bridge: token"),
        ("bridge", {"inbox": b"\1" * 20}, "bridge: inbox"),
        ("bridge", {"rollup": NOBODY}, "bridge: rollup"),
        ("bridge", {"minimum_deposit": 0}, "bridge: minimum deposit"),
        ("bridge", {"minimum_deposit": 2**63}, "bridge: minimum deposit"),
        ("bridge", {"outflow_limit": 0}, "bridge: outflow limit"),
        ("bridge", {"outflow_limit": 2**63}, "bridge: outflow limit"),
        ("bridge", {"outflow_window": 0}, "bridge: outflow window"),
        ("bridge", {"outflow_window": MONTH + 1}, "bridge: outflow window"),
        ("rollup", {"program_id": bytes(32)}, "rollup: program id"),
        ("rollup", {"genesis_durable_root": b"\xff" * 32}, "rollup: genesis durable root"),
        ("rollup", {"genesis_volatile_root": b"\xff" * 32}, "rollup: genesis volatile root"),
        ("rollup", {"inbox": b"\1" * 20}, "rollup: inbox"),
        ("rollup", {"sequencer": NOBODY}, "rollup: sequencer"),
        ("rollup", {"dispute": NOBODY}, "rollup: dispute"),
        ("rollup", {"bond": 0}, "rollup: bond"),
        ("rollup", {"challenge_window": 0}, "rollup: challenge window"),
        ("rollup", {"challenge_window": MONTH + 1}, "rollup: challenge window"),
        ("rollup", {"force_delay": 0}, "rollup: force delay"),
        ("rollup", {"force_delay": MONTH + 1}, "rollup: force delay"),
    ],
)
def test_constructors_check_their_parameters(world, name, changes, reason):
    deployment = world.deployment
    parameters = {
        key: value for key, value in changes.items() if hasattr(deployment.parameters, key)
    }
    rest = {key: value for key, value in changes.items() if key not in parameters}
    changed = replace(deployment, parameters=replace(deployment.parameters, **parameters), **rest)
    arguments = deploy.constructor_arguments(name, changed)
    data = deploy.creation_data(compile_contract(name), arguments)
    with pytest.raises(Exception) as caught:
        world.client.rpc("eth_call", {"data": "0x" + data.hex()}, "latest")
    assert caught.value.message == reason
