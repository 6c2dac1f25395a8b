"""Programs of random instructions, valid and not, and the registers they start with."""

from hypothesis import strategies as st

from entresol.kernel import layout
from entresol.machine import assembly

ADDRESSES = [
    base + offset
    for base, size, _ in layout.REGIONS.values()
    for offset in (0, 8, 64, 2016, 2048, 4088, size - 32, size - 8, size - 1, size)
]
WORDS = [0, 1, -1, 2, 7, 27, 28, 63, 64, 136, 1087, 1088, 2**31 - 1, -(2**31), 2**32, 2**63 - 1]

values = st.one_of(
    st.sampled_from(ADDRESSES),
    st.sampled_from(WORDS),
    st.integers(-(2**63), 2**63 - 1),
)
"""What a register may hold: addresses at every edge, operands at which arithmetic goes wrong."""

BASES = range(8, 16)
"""Registers that mostly hold good addresses, so that programs run for a while."""

_interior = st.sampled_from(
    [
        base + offset
        for name, (base, size, _) in layout.REGIONS.items()
        for offset in (64, 128, 2048, size - 128)
        for _ in range(4 if name in ("STATE", "SCRATCH", "JOURNAL") else 1)
    ]
)
_code = st.integers(0, 40).map(lambda index: layout.CODE_BASE + 4 * index)
_rarely = st.integers(0, 15).map(lambda n: n == 0)


def _initial(number: int) -> st.SearchStrategy[int]:
    if number in (1, 5):
        usual = _code
    elif number in BASES:
        usual = _interior
    else:
        usual = values
    return _rarely.flatmap(lambda odd: values if odd else usual)


registers = st.tuples(*(_initial(number) for number in range(1, 32))).map(list)

_any = st.integers(0, 31)
_scratch = st.sampled_from([0, 2, 3, 4, 6, 7, *range(16, 32)])
_base = st.sampled_from(BASES)
_result = _rarely.flatmap(lambda odd: _any if odd else _scratch)
_address = _rarely.flatmap(lambda odd: _any if odd else _base)
_distance = _rarely.flatmap(
    lambda odd: st.integers(-2048, 2047) if odd else st.integers(-4, 4).map(lambda k: 8 * k)
)

REGISTER_FORMS = [(0, f3, 0x33) for f3 in range(8)] + [(1, f3, 0x33) for f3 in range(8)]
REGISTER_FORMS += [(32, 0, 0x33), (32, 5, 0x33), (32, 0, 0x3B), (32, 5, 0x3B)]
REGISTER_FORMS += [(0, f3, 0x3B) for f3 in (0, 1, 5)] + [(1, f3, 0x3B) for f3 in (0, 4, 5, 6, 7)]
IMMEDIATE_FORMS = [(f3, 0x13) for f3 in (0, 2, 3, 4, 6, 7)] + [(0, 0x1B)]
SHIFTS = [(0, 1, 0x13), (0, 5, 0x13), (32, 5, 0x13), (0, 1, 0x1B), (0, 5, 0x1B), (32, 5, 0x1B)]


def _word(top: int, second: int, first: int, function3: int, result: int, opcode: int) -> int:
    return top << 25 | second << 20 | first << 15 | function3 << 12 | result << 7 | opcode


_register_forms = st.builds(
    lambda form, d, a, b: _word(form[0], b, a, form[1], d, form[2]),
    st.sampled_from(REGISTER_FORMS), _result, _any, _any,
)  # fmt: skip
_immediate_forms = st.builds(
    lambda form, d, a, v: (v & 0xFFF) << 20 | a << 15 | form[0] << 12 | d << 7 | form[1],
    st.sampled_from(IMMEDIATE_FORMS), _result, _any, st.integers(-2048, 2047),
)  # fmt: skip
_shifts = st.builds(
    lambda form, d, a, n: _word(form[0], n, a, form[1], d, form[2]),
    st.sampled_from(SHIFTS), _result, _any, st.integers(0, 31),
)  # fmt: skip
_uppers = st.builds(
    lambda value, d, op: value << 12 | d << 7 | op,
    st.integers(0, 2**20 - 1), _result, st.sampled_from([0x17, 0x37]),
)  # fmt: skip
arithmetic = st.one_of(_register_forms, _register_forms, _immediate_forms, _shifts, _uppers)
"""Words that compute: they cannot fault or jump."""

_loads = st.builds(
    lambda f3, d, a, v: (v & 0xFFF) << 20 | a << 15 | f3 << 12 | d << 7 | 0x03,
    st.sampled_from([0, 1, 2, 3, 3, 4, 5, 6]), _result, _address, _distance,
)  # fmt: skip
_stores = st.builds(
    lambda f3, b, a, v: _word(v >> 5 & 0x7F, b, a, f3, v & 31, 0x23),
    st.sampled_from([0, 1, 2, 3, 3]), _any, _address, _distance,
)  # fmt: skip
_branches = st.builds(
    lambda f3, a, b, offset: assembly.branch_immediate(4 * offset) | _word(0, b, a, f3, 0, 0x63),
    st.sampled_from([0, 1, 4, 5, 6, 7]), _any, _any,
    st.integers(-12, 12).filter(bool),
)  # fmt: skip
_jumps = st.builds(
    lambda offset, d: assembly.jump_immediate(4 * offset) | d << 7 | 0x6F,
    st.integers(-12, 12).filter(bool), st.sampled_from([0, 1, 1, 5]),
)  # fmt: skip
_pointers = st.builds(assembly.auipc, st.sampled_from([1, 5]), st.just(0))
_returns = st.builds(
    assembly.jump_register,
    st.sampled_from([0, 0, 0, 1, 7]),
    st.sampled_from([1, 1, 1, 5]),
    st.sampled_from([0, 0, 0, 4, 8, 8, 12, 16, 20, 1]),
)
_system = st.sampled_from(
    [assembly.ECALL, assembly.addi(17, 0, 1), assembly.addi(17, 0, 2), 0x0FF0_000F]
)
_anything = st.one_of(
    st.integers(0, 2**32 - 1),
    st.builds(assembly.jump_immediate, st.integers(-(2**20), 2**20 - 1)).map(
        lambda word: word | 0x6F
    ),
    st.builds(assembly.branch_immediate, st.integers(-4096, 4095)).map(lambda word: word | 0x63),
)

_usual = st.one_of(
    arithmetic, arithmetic, arithmetic, _loads, _loads, _stores, _stores, _branches, _branches,
    _jumps, _pointers, _returns, _system,
)  # fmt: skip
instructions = st.integers(0, 40).flatmap(lambda n: _anything if n == 0 else _usual)


def _closed(words: list[int], again: bool) -> bytes:
    """The words, then a jump back to the first one."""
    if again:
        words = [*words, assembly.jump_immediate(-4 * len(words)) | 0x6F]
    return assembly.to_bytes(words)


programs = st.builds(
    _closed, st.lists(instructions, min_size=24, max_size=60), st.integers(0, 3).map(bool)
)
"""Bytes of CODE."""
