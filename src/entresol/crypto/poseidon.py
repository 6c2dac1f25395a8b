"""Poseidon (the original, "Poseidon1") of width 16 over KoalaBear: parameters and a plain twin.

Grassi, Khovratovich, Rechberger, Roy, Schofnegger, "Poseidon: A New Hash Function for
Zero-Knowledge Proof Systems" (USENIX Security 2021, eprint 2019/458): x -> x^3, 8 full and 20
partial rounds, all sixteen constants added in every round.  The constants come from the Grain
generator of the paper's appendix on initialisation.  The matrix is the small circulant MDS matrix
that Plonky3 and leanSpec publish for this field and width; both publish the same known answer,
which the tests check.  ADR 0002 says why this permutation.
"""

from collections.abc import Sequence
from typing import Final

from entresol.crypto.field import ELEMENT_BITS, PRIME

WIDTH: Final = 16
FULL_ROUNDS: Final = 8
"""Half of them before, half after the partial rounds."""
PARTIAL_ROUNDS: Final = 20
HALF_FULL_ROUNDS: Final = FULL_ROUNDS // 2
ROUNDS: Final = FULL_ROUNDS + PARTIAL_ROUNDS

MATRIX_ROW: Final = (1, 1, 51, 1, 11, 17, 2, 1, 101, 63, 15, 2, 67, 22, 13, 3)
"""First row of the circulant MDS matrix; row i is this one rotated i places to the right."""

MATRIX_COLUMN: Final = tuple(MATRIX_ROW[-index % WIDTH] for index in range(WIDTH))
"""First column: the matrix maps the polynomial x to MATRIX_COLUMN * x modulo X^16 - 1."""

State = list[int]

_GRAIN_TAPS: Final = sum(1 << (79 - tap) for tap in (0, 13, 23, 38, 51, 62))


def _grain_seed() -> int:
    """The generator's 80 bits: prime field, power map, then sizes, then thirty ones."""
    seed = 0
    for value, bits in (
        (1, 2),
        (0, 4),
        (ELEMENT_BITS, 12),
        (WIDTH, 12),
        (FULL_ROUNDS, 10),
        (PARTIAL_ROUNDS, 10),
        ((1 << 30) - 1, 30),
    ):
        seed = seed << bits | value
    return seed


def _round_constants() -> tuple[tuple[int, ...], ...]:
    """Self-shrinking Grain register; candidates not below p are dropped."""
    mask, register = (1 << 80) - 1, _grain_seed()

    def clock() -> int:
        nonlocal register
        bit = (register & _GRAIN_TAPS).bit_count() & 1
        register = (register << 1 | bit) & mask
        return bit

    for _ in range(160):
        clock()
    constants: list[int] = []
    while len(constants) < ROUNDS * WIDTH:
        candidate, bits = 0, 0
        while bits < ELEMENT_BITS:
            chosen, bit = clock(), clock()
            if chosen:
                candidate, bits = candidate << 1 | bit, bits + 1
        if candidate < PRIME:
            constants.append(candidate)
    return tuple(tuple(constants[at : at + WIDTH]) for at in range(0, len(constants), WIDTH))


ROUND_CONSTANTS: Final = _round_constants()
"""ROUND_CONSTANTS[round][lane]."""


def multiply_matrix(state: Sequence[int]) -> State:
    """The MDS matrix times `state`."""
    return [
        sum(MATRIX_ROW[(j - i) % WIDTH] * state[j] for j in range(WIDTH)) % PRIME
        for i in range(WIDTH)
    ]


def permute_plain(state: Sequence[int]) -> State:
    """The permutation on sixteen elements, as the paper writes it."""
    current = list(state)
    for index, constants in enumerate(ROUND_CONSTANTS):
        current = [
            (element + constant) % PRIME
            for element, constant in zip(current, constants, strict=True)
        ]
        partial = HALF_FULL_ROUNDS <= index < HALF_FULL_ROUNDS + PARTIAL_ROUNDS
        for lane in range(1 if partial else WIDTH):
            current[lane] = pow(current[lane], 3, PRIME)
        current = multiply_matrix(current)
    return current
