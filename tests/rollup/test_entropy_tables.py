import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.kernel.codec import format as codec
from entresol.kernel.codec import tables as kernel_tables
from entresol.rollup import entropy_tables as tables

values = st.integers(0, 2**64 - 1) | st.integers(0, 2000)


@given(values)
def test_kernel_and_encoder_agree_on_buckets(value):
    signed = value - (1 << 64) if value >> 63 else value
    bucket = int(kernel_tables.bucket_of(signed))
    base = int(kernel_tables.bucket_base(bucket)) % (1 << 64)
    bits = int(kernel_tables.bucket_bits(bucket))
    assert int(tables.buckets_of(np.array([value], np.uint64))[0]) == bucket < codec.BUCKETS
    assert int(tables.bucket_bits(np.array([bucket]))[0]) == bits
    assert base <= value < base + (1 << bits)


def test_buckets_partition_all_values():
    end = 0
    for bucket in range(codec.BUCKETS):
        assert int(kernel_tables.bucket_base(bucket)) % (1 << 64) == end
        end += 1 << int(kernel_tables.bucket_bits(bucket))
    assert end == 1 << 64


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=200), st.integers(8, 12))
def test_frequencies_are_positive_and_fill_the_table(counts, log):
    frequencies = tables.quantise(np.array(counts, np.int64), log)
    assert frequencies.sum() == 1 << log
    assert frequencies.min() >= 1


def test_logarithms_are_exact():
    found = tables.logarithms()
    for number in (1, 2, 3, 5, 1000, 4095, 4096):
        assert found[number] == math.floor(256 * math.log2(number) + 1e-9)
    large = tables.log2_cost(np.array([10**9, 4097, 1]))
    assert abs(large[0] - 256 * math.log2(10**9)) < 2
    assert large[2] == 0


@given(st.lists(values, min_size=1, max_size=300))
def test_a_table_codes_every_value_it_was_built_from(found):
    source = tables.histogram(np.array(found, np.uint64))
    table = tables.build_table(source)
    assert table.frequencies.sum() == 1 << table.log
    singles = set(table.singles.tolist())
    buckets = set(table.buckets.tolist())
    for value in found:
        bucket = int(tables.buckets_of(np.array([value], np.uint64))[0])
        assert value in singles or bucket in buckets
    assert all(value >= 8 for value in singles)


def test_frequent_values_get_symbols_of_their_own():
    found = np.array([1000] * 500 + [1037] * 400 + list(range(900, 1100)), np.uint64)
    table = tables.build_table(tables.histogram(found))
    assert {1000, 1037} <= set(table.singles.tolist())
    assert len(table.singles) < 10


def test_contexts_share_a_table_when_that_is_cheaper():
    alike = tables.histogram(np.array([1, 2, 3, 3, 3] * 8, np.uint64))
    other = tables.histogram(np.array([200_000, 5_000_000] * 500, np.uint64))
    chosen, choices = tables.choose_tables(
        {codec.PRICE: alike, codec.PRICE + 1: alike, codec.PRICE + 2: other}
    )
    assert choices[codec.PRICE] == choices[codec.PRICE + 1] == 1
    assert choices[codec.PRICE + 2] == 2
    assert len(chosen) == 2
    assert sum(choices) == 4


def test_few_values_take_the_uniform_table():
    chosen, choices = tables.choose_tables({0: tables.histogram(np.array([77], np.uint64))})
    assert chosen == []
    assert not any(choices)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2**62, 2**63 - 1])
def test_varint_ends_with_a_group_that_is_not_zero(value):
    encoded = tables.varint(value)
    assert sum((byte & 127) << 7 * n for n, byte in enumerate(encoded)) == value
    assert len(encoded) == 1 or encoded[-1] != 0
