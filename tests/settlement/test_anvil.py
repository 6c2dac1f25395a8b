import hashlib
import subprocess
import sys

import pytest

from entresol.settlement import anvil as anvil_module
from entresol.settlement.anvil import (
    ANVIL_SHA256,
    ANVIL_VERSION,
    Anvil,
    AnvilError,
    ensure_anvil,
)
from entresol.settlement.l1 import L1Client, L1Error

pytestmark = pytest.mark.l1


def test_the_binary_is_the_pinned_one():
    binary = ensure_anvil()
    assert hashlib.sha256(binary.read_bytes()).hexdigest() == ANVIL_SHA256
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    assert ANVIL_VERSION in version.stdout
    command = [sys.executable, "-m", "entresol.settlement.anvil"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == str(binary)


def test_another_binary_is_refused(tmp_path):
    binary = tmp_path / "node_modules" / anvil_module.ANVIL_PACKAGE / "bin" / "anvil"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    with pytest.raises(AnvilError, match="remove it and install again"):
        ensure_anvil(tmp_path)


def test_a_failing_installation_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(anvil_module, "_npm_command", lambda directory: ["false"])
    with pytest.raises(AnvilError, match="failed"):
        ensure_anvil(tmp_path)
    monkeypatch.setattr(anvil_module, "_npm_command", lambda directory: ["/nonexistent"])
    with pytest.raises(AnvilError, match="No such file"):
        ensure_anvil(tmp_path)


def test_other_machines_are_refused(monkeypatch):
    monkeypatch.setattr(anvil_module.platform, "machine", lambda: "riscv64")
    with pytest.raises(AnvilError, match="x86-64 Linux"):
        ensure_anvil()


def test_the_rules_of_the_chain(shared_node):
    client = L1Client(shared_node.url)
    assert client.chain_id == 31337
    header = client.rpc("eth_getBlockByNumber", "latest", False)
    assert int(header["gasLimit"], 16) == 60_000_000
    # EIP-7951 (P-256) exists from Osaka on, EIP-7825 caps a transaction's gas.
    sender = client.rpc("eth_accounts")[0]
    with pytest.raises(L1Error, match="gas"):
        client.rpc("eth_sendTransaction", {"from": sender, "to": sender, "gas": hex(16_777_217)})


def test_the_state_survives_a_clean_stop(tmp_path):
    state = tmp_path / "state.json"
    with Anvil(state=state, log=tmp_path / "log") as node:
        client = L1Client(node.url)
        node.rpc("anvil_setBalance", "0x" + "77" * 20, hex(77))
        node.rpc("evm_mine")
        head = client.head()
        with pytest.raises(AnvilError, match="already running"):
            node.start()
    assert not node.running
    node.stop()
    with Anvil(state=state) as again:
        client = L1Client(again.url)
        assert client.head() == head
        assert client.balance(b"\x77" * 20) == 77
    assert "Listening on" in (tmp_path / "log").read_text()


def test_a_bad_option_is_reported():
    with pytest.raises(AnvilError, match="ended at once"):
        Anvil(extra=("--no-such-option",)).start()


def test_errors_of_the_node_carry_its_message(shared_node):
    with pytest.raises(AnvilError, match="evm_nonsense"):
        shared_node.rpc("evm_nonsense")
