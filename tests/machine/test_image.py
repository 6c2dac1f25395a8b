"""The program id: what it commits to, and the value that is pinned."""

import json
import pathlib
import sys

import pytest

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.machine import image
from entresol.machine.layout_document import canonical_layout, describe_layout
from entresol.machine.memory import Memory
from entresol.machine.state_tree import StateTree

PINNED = pathlib.Path(__file__).parent / "program_id.txt"


def test_layout_document_is_canonical_and_complete() -> None:
    document = json.loads(canonical_layout())
    assert document == describe_layout()
    assert canonical_layout() == canonical_layout()
    assert document["regions"]["STATE"] == {"base": 1 << 31, "size": 1 << 31, "access": "rw"}
    assert document["system_calls"] == {"halt": 0, "keccak256": 1, "ecrecover": 2}
    header = document["records"]["DURABLE"]["fields"]["header"]
    assert header["bytes"] == 4096
    assert header["fields"]["domain"] == {"offset": 0, "type": "u8", "bytes": 8, "shape": [4]}


def test_program_id_is_the_hash_of_its_four_parts() -> None:
    code = bytes(range(200))
    memory = Memory()
    memory.write(layout.CODE_BASE, code)
    tree = StateTree()
    tree.update_range(memory.base, layout.CODE_BASE, len(code))
    root = tree.region_root(layout.CODE_BASE, layout.CODE_BYTES)
    expected = keccak256(
        root
        + keccak256(canonical_layout())
        + layout.ENCODING_VERSION.to_bytes(32, "big")
        + image.STATE_HASH_ID.to_bytes(32, "big")
    )
    assert image.program_id(code) == expected


def test_program_id_changes_with_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {image.program_id(b"\1"), image.program_id(b"\2")}
    monkeypatch.setattr(image, "STATE_HASH_ID", 2)
    ids.add(image.program_id(b"\1"))
    monkeypatch.setattr(layout, "MAX_EVENTS", layout.MAX_EVENTS + 1)
    ids.add(image.program_id(b"\1"))
    monkeypatch.setattr(layout, "ENCODING_VERSION", 2)
    ids.add(image.program_id(b"\1"))
    assert len(ids) == 5


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11),
    reason="the program is pinned for CPython 3.11: Numba compiles bytecode (docs/adr/0001)",
)
def test_kernel_image_has_the_pinned_program_id() -> None:
    built = image.load_kernel_image()
    assert "0x" + built.program_id.hex() == PINNED.read_text().strip(), (
        "The kernel or the layout changed.  If that was meant, run "
        "`entresol machine image --pin tests/machine/program_id.txt` and say so in the change."
    )
    assert built.entry == layout.CODE_BASE
    assert len(built.code) < layout.CODE_BYTES
