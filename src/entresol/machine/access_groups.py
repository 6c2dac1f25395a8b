"""Memory accesses of a block that one check can cover: the same base register, unchanged.

A function's prologue saves a dozen registers through `sp`; one check of the lowest and highest
address does for all.  It is made before the first access of the group.  If it fails, the
interpreter takes over there and finds the access, if any, that is not allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from entresol.machine import decode
from entresol.machine.decode import Instruction

_MAXIMUM_SPAN: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class AccessGroup:
    """Accesses at constant offsets from the value that register `base` has at the first one."""

    base: int
    low: int
    """Lowest offset accessed."""
    high: int
    """Highest offset accessed."""
    aligned: int
    """An offset at which the address must be a multiple of `alignment`."""
    alignment: int
    has_store: bool


def access_groups(instructions: Sequence[Instruction]) -> dict[int, AccessGroup]:
    """Check to make before each instruction that opens a group, by its index in the block."""
    versions = [0] * (decode.DISCARD + 1)
    members: dict[tuple[int, int], list[tuple[int, Instruction]]] = {}
    for index, instruction in enumerate(instructions):
        operation = instruction.operation
        if operation in decode.LOADS or operation in decode.STORES:
            key = (instruction.first, versions[instruction.first])
            members.setdefault(key, []).append((index, instruction))
        versions[instruction.destination] += operation not in decode.STORES
    groups: dict[int, AccessGroup] = {}
    for accesses in members.values():
        _split(accesses, groups)
    return groups


def _split(accesses: list[tuple[int, Instruction]], groups: dict[int, AccessGroup]) -> None:
    """Form groups whose accesses are all aligned if one of them is, and lie close together."""
    pending = accesses
    while pending:
        widest = max(pending, key=lambda item: decode.ACCESS_BYTES[item[1].operation])[1]
        alignment = decode.ACCESS_BYTES[widest.operation]
        together: list[tuple[int, Instruction]] = []
        apart: list[tuple[int, Instruction]] = []
        for item in pending:
            distance = item[1].immediate - widest.immediate
            size = decode.ACCESS_BYTES[item[1].operation]
            fits = distance % size == 0 and abs(distance) < _MAXIMUM_SPAN // 2
            (together if fits else apart).append(item)
        groups[together[0][0]] = _group(together, widest.immediate, alignment)
        pending = apart


def _group(accesses: list[tuple[int, Instruction]], aligned: int, alignment: int) -> AccessGroup:
    instructions = [instruction for _, instruction in accesses]
    return AccessGroup(
        base=instructions[0].first,
        low=min(instruction.immediate for instruction in instructions),
        high=max(
            instruction.immediate + decode.ACCESS_BYTES[instruction.operation] - 1
            for instruction in instructions
        ),
        aligned=aligned,
        alignment=alignment,
        has_store=any(instruction.operation in decode.STORES for instruction in instructions),
    )
