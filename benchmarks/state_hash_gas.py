"""What the state hash costs on L1: one Poseidon permutation written for the EVM, on a real node.

The matrix has small entries (a row sums to 326), so a product grows by nine bits only and six
lanes of 42 bits fit one EVM word: a round multiplies each of the sixteen lanes by three packed
columns instead of sixteen entries.  The contract is generated from the constants of
`entresol.crypto.poseidon`, run on anvil and compared with the plain permutation.

    python benchmarks/state_hash_gas.py
"""

import json
import urllib.request

from vyper.compiler import compile_code
from vyper.compiler.settings import OptimizationLevel, Settings

from entresol.crypto.field import PRIME
from entresol.crypto.poseidon import (
    HALF_FULL_ROUNDS,
    MATRIX_ROW,
    PARTIAL_ROUNDS,
    ROUND_CONSTANTS,
    WIDTH,
    permute_plain,
)
from entresol.settlement.anvil import Anvil

LANE_BITS = 42
WORDS = ((0, 6), (6, 11), (11, 16))
"""Lanes [first, last) of each packed word."""


def pack(values: list[int]) -> list[int]:
    """Sixteen lanes as three words."""
    return [
        sum(value << LANE_BITS * place for place, value in enumerate(values[first:last]))
        for first, last in WORDS
    ]


def nested(terms: list[str]) -> str:
    """One expression that adds all terms."""
    return terms[0] if len(terms) == 1 else f"unsafe_add({terms[0]}, {nested(terms[1:])})"


def lane(index: int) -> str:
    """Expression for lane `index` of the packed words a0, a1, a2."""
    word = next(number for number, (first, last) in enumerate(WORDS) if first <= index < last)
    shift = LANE_BITS * (index - WORDS[word][0])
    mask = (1 << LANE_BITS) - 1
    return f"(a{word} >> {shift}) & {mask}" if shift else f"a{word} & {mask}"


def round_function(name: str, cubed: int) -> list[str]:
    """One round on packed words: cube the first lanes, multiply the matrix, add constants."""
    words = "uint256, uint256, uint256"
    lines = [
        "@internal", "@pure",
        f"def {name}(a0: uint256, a1: uint256, a2: uint256, c0: uint256, c1: uint256, "
        f"c2: uint256) -> ({words}):",
    ]  # fmt: skip
    for index in range(WIDTH):
        if index < cubed:
            lines += [f"    t{index}: uint256 = {lane(index)}"]
            value = f"uint256_mulmod(unsafe_mul(t{index}, t{index}), t{index}, P)"
        else:
            value = f"({lane(index)}) % P"
        lines += [f"    x{index}: uint256 = {value}"]
    columns = [pack([MATRIX_ROW[(j - i) % WIDTH] for i in range(WIDTH)]) for j in range(WIDTH)]
    sums = [
        nested([f"c{word}"] + [f"unsafe_mul(x{j}, {columns[j][word]})" for j in range(WIDTH)])
        for word in range(3)
    ]
    return [*lines, f"    return {', '.join(sums)}", ""]


def contract() -> str:
    """The whole contract: `permute(state)` gives the gas of the permutation and its result."""
    lines = ["# pragma version 0.4.3", f"P: constant(uint256) = {PRIME}", ""]
    lines += round_function("_full", WIDTH) + round_function("_partial", 1)
    lines += [
        "@external", "@view",
        "def permute(s: uint256[16]) -> (uint256, uint256[16]):",
        "    before: uint256 = msg.gas",
    ]  # fmt: skip
    following = [*ROUND_CONSTANTS[1:], (0,) * WIDTH]
    for word, (first, last) in enumerate(WORDS):
        terms = [f"(s[{i}] << {LANE_BITS * (i - first)})" for i in range(first, last)]
        constant = str(pack(list(ROUND_CONSTANTS[0]))[word])
        lines += [f"    a{word}: uint256 = {nested([constant, *terms])}"]
    for index, constants in enumerate(following):
        partial = HALF_FULL_ROUNDS <= index < HALF_FULL_ROUNDS + PARTIAL_ROUNDS
        name = "_partial" if partial else "_full"
        packed = ", ".join(str(word) for word in pack(list(constants)))
        lines += [f"    a0, a1, a2 = self.{name}(a0, a1, a2, {packed})"]
    results = ", ".join(f"({lane(index)}) % P" for index in range(WIDTH))
    return "\n".join([*lines, f"    r: uint256[16] = [{results}]",
                      "    return unsafe_sub(before, msg.gas), r"])  # fmt: skip


def call(url: str, method: str, *parameters: object) -> object:
    """One JSON-RPC call."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    if "error" in answer:
        raise RuntimeError(f"{method} failed: {answer['error']}")
    return answer["result"]


def main() -> None:
    """Print the gas and the code size of the contract."""
    state = [(index * 0x01234567 + 89) % PRIME for index in range(WIDTH)]
    settings = Settings(optimize=OptimizationLevel.GAS, evm_version="cancun")
    formats = ["bytecode_runtime", "method_identifiers"]
    compiled = compile_code(contract(), output_formats=formats, settings=settings)
    code, address = compiled["bytecode_runtime"], "0x" + "11" * 20
    selector = int(compiled["method_identifiers"]["permute(uint256[16])"], 16)
    data = selector.to_bytes(4, "big") + b"".join(x.to_bytes(32, "big") for x in state)
    with Anvil() as node:
        call(node.url, "anvil_setCode", address, code)
        request = {"to": address, "data": "0x" + data.hex()}
        answer = bytes.fromhex(str(call(node.url, "eth_call", request, "latest"))[2:])
    words = [int.from_bytes(answer[at : at + 32], "big") for at in range(0, len(answer), 32)]
    if words[1:] != permute_plain(state):
        raise AssertionError("The contract's permutation differs from the plain one.")
    print(f"{words[0]} gas for one permutation, {len(code) // 2 - 1} bytes of code")


if __name__ == "__main__":
    main()
