import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import compile_cache, native_memory, poseidon, poseidon_vectors
from entresol.crypto.field import PRIME

# Known answer for 0, 1, ..., 15: Plonky3 (koala-bear, poseidon1, width 16, August 2026) and
# leanSpec (tests of its Poseidon, June 2026) publish the same sixteen numbers.
KNOWN_ANSWER = [
    610090613, 935319874, 1893335292, 796792199, 356405232, 552237741, 55134556, 1215104204,
    1823723405, 1133298033, 1780633798, 1453946561, 710069176, 1128629550, 1917333254, 1175481618,
]  # fmt: skip


def test_known_answer():
    assert poseidon.permute_plain(range(16)) == KNOWN_ANSWER


def test_generated_constants_are_the_published_ones():
    # Spot values of the published table: first, eighth and last full rounds, two partial rounds.
    constants = poseidon.ROUND_CONSTANTS
    assert len(constants) == 28
    assert all(len(row) == 16 for row in constants)
    assert constants[0][:3] == (0x7EE56A48, 0x11367045, 0x12E41941)
    assert constants[3][15] == 0x760E7FDF
    assert constants[4][:2] == (0x54DFEB5D, 0x7D40AFD6)
    assert constants[5][0] == 0x3241EBCB
    assert constants[24][0] == 0x763A3125
    assert constants[27][15] == 0x07E2D7EF
    assert all(0 <= constant < PRIME for row in constants for constant in row)


def test_the_matrix_is_mds():
    """Every square submatrix of size one and two, and a sample of larger ones, is invertible."""
    matrix = [[poseidon.MATRIX_ROW[(j - i) % 16] for j in range(16)] for i in range(16)]
    random = np.random.default_rng(1)
    choices = [([i, k], [j, m]) for i in range(16) for k in range(i) for j in range(16)
               for m in range(j)]  # fmt: skip
    for size in range(3, 17):
        for _ in range(20):
            rows, columns = (sorted(random.permutation(16)[:size]) for _ in range(2))
            choices.append((rows, columns))
    assert all(matrix[i][j] % PRIME for i in range(16) for j in range(16))
    for rows, columns in choices:
        assert determinant([[matrix[i][j] for j in columns] for i in rows]) != 0


def determinant(matrix):
    matrix, result = [row[:] for row in matrix], 1
    for column in range(len(matrix)):
        pivot = next((r for r in range(column, len(matrix)) if matrix[r][column] % PRIME), None)
        if pivot is None:
            return 0
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        result = result * matrix[column][column] * (1 if pivot == column else -1) % PRIME
        inverse = pow(matrix[column][column], -1, PRIME)
        for row in matrix[column + 1 :]:
            factor = row[column] * inverse
            for place in range(column, len(matrix)):
                row[place] = (row[place] - factor * matrix[column][place]) % PRIME
    return result


space = native_memory.stack_space(1024)


@pytest.fixture(scope="module")
def permute_rows():
    if compile_cache.INTERPRETED:
        pytest.skip("needs the compiler")

    @compile_cache.native_function
    def run(data):
        rows = space()
        for at in range(0, 1024, 8):
            native_memory.store_u64(rows + at, native_memory.load_u64(data + at))
        poseidon_vectors.permute_block(rows)
        for at in range(0, 1024, 8):
            native_memory.store_u64(data + at, native_memory.load_u64(rows + at))

    def call(states):
        block = np.array(states, np.uint32)
        run(block.ctypes.data)
        return block.tolist()

    return call


def test_vectors_give_the_known_answer_in_every_row(permute_rows):
    assert permute_rows([list(range(16))] * 16) == [KNOWN_ANSWER] * 16


def test_vectors_and_plain_agree_on_extreme_states(permute_rows):
    states = [[0] * 16, [PRIME - 1] * 16, [1] * 16, [PRIME - 1, 0] * 8, [0, PRIME - 1] * 8,
              [PRIME // 2] * 16, [PRIME // 2 + 1] * 16]  # fmt: skip
    states += [[PRIME - 1 if lane == one else 0 for lane in range(16)] for one in range(9)]
    assert permute_rows(states) == [poseidon.permute_plain(state) for state in states]


elements = st.one_of(st.sampled_from([0, 1, PRIME - 1]), st.integers(0, PRIME - 1))


@given(st.integers(0, 2**32), st.lists(elements, min_size=16, max_size=16))
@settings(max_examples=15, deadline=None)
def test_vectors_and_plain_agree(permute_rows, seed, first):
    states = np.random.default_rng(seed).integers(0, PRIME, (16, 16)).tolist()
    states[seed % 16] = first
    assert permute_rows(states) == [poseidon.permute_plain(state) for state in states]


def test_round_constants_follow_the_documented_generator():
    """The Grain register written bit by bit, as the paper's appendix describes it."""
    bits = [int(b) for b in f"{1:02b}{0:04b}{31:012b}{16:012b}{8:010b}{20:010b}" + "1" * 30]
    assert len(bits) == 80

    def clock():
        bits.append(bits[62] ^ bits[51] ^ bits[38] ^ bits[23] ^ bits[13] ^ bits[0])
        del bits[0]
        return bits[-1]

    for _ in range(160):
        clock()
    generated = []
    while len(generated) < 100:
        candidate = ""
        while len(candidate) < 31:
            keep, bit = clock(), clock()
            candidate += str(bit) if keep else ""
        if int(candidate, 2) < PRIME:
            generated.append(int(candidate, 2))
    flat = [constant for row in poseidon.ROUND_CONSTANTS for constant in row]
    assert generated == flat[:100]
