"""Compiles the L1 contracts: Vyper 0.4.3, default pipeline, EVM version prague."""

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vyper
from vyper.compiler import compile_code
from vyper.compiler.settings import OptimizationLevel, Settings

VYPER_VERSION: Final = "0.4.3"
"""Another compiler gives other bytecode, hence other gas and another review."""

EVM_VERSION: Final = "prague"

CONTRACTS: Final = ("token", "inbox", "bridge", "rollup")
"""Names of the contracts, in the order in which they are deployed."""

CODE_LIMIT_BYTES: Final = 24_576
"""Longest runtime code that L1 accepts (EIP-170)."""

_COMPILER: Final = threading.Lock()

_SOURCES: Final = Path(__file__).parent / "contracts"


class CompileError(Exception):
    """The contracts cannot be compiled as pinned; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One compiled contract: its ABI, its creation code and its runtime code."""

    name: str
    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes


def compile_contract(name: str) -> Artifact:
    """Compile `contracts/<name>.vy`; raises CompileError for another compiler version.

    One at a time: the compiler keeps its settings in globals, so two threads break each other.
    """
    with _COMPILER:
        return _compile(name)


@functools.cache
def _compile(name: str) -> Artifact:
    if vyper.__version__ != VYPER_VERSION:
        raise CompileError(
            f"vyper {VYPER_VERSION} is required, {vyper.__version__} is installed: "
            f"run `pip install vyper=={VYPER_VERSION}`"
        )
    if name not in CONTRACTS:
        raise CompileError(f"there is no contract {name!r}; there are {', '.join(CONTRACTS)}")
    settings = Settings(
        evm_version=EVM_VERSION,
        optimize=OptimizationLevel.GAS,
        experimental_codegen=False,
    )
    output = compile_code(
        (_SOURCES / f"{name}.vy").read_text(),
        contract_path=f"{name}.vy",
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        settings=settings,
    )
    artifact = Artifact(
        name=name,
        abi=output["abi"],
        creation_code=bytes.fromhex(output["bytecode"].removeprefix("0x")),
        runtime_code=bytes.fromhex(output["bytecode_runtime"].removeprefix("0x")),
    )
    if len(artifact.runtime_code) > CODE_LIMIT_BYTES:
        raise CompileError(
            f"{name} is {len(artifact.runtime_code)} bytes, above {CODE_LIMIT_BYTES}"
        )
    return artifact
