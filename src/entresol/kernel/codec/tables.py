"""Reading the tables section: which table each context uses, and each table's symbols.

A table's symbols are buckets (a base and extra bits) and singles (one frequent value each), with
frequencies that sum to a power of two.  Every rule here is checked, so a table that passes gives
each value exactly one code and decoding can never leave the arrays.
"""

from entresol.kernel.codec import format as codec
from entresol.kernel.codec.entropy import read_byte, read_varint, reject_encoding
from entresol.kernel.subset import (
    i64,
    kernel_function,
    load_i64,
    record_at,
    store_i64,
    unsigned_less,
)

table_at = record_at(codec.TABLE)
symbol_at = record_at(codec.SYMBOL)


@kernel_function
def bucket_bits(bucket: int) -> int:
    """Extra bits of a bucket."""
    if bucket < 8:
        return i64(0)
    return (bucket >> 2) - 1


@kernel_function
def bucket_base(bucket: int) -> int:
    """Least value of a bucket, as an unsigned 64-bit pattern."""
    if bucket < 8:
        return i64(bucket)
    return (4 + (bucket & 3)) << ((bucket >> 2) - 1)


@kernel_function
def bucket_of(value: int) -> int:
    """The bucket an unsigned 64-bit value falls into."""
    if value >= 0 and value < 8:
        return i64(value)
    exponent = i64(2)
    for step in range(6):
        width = i64(32) >> step
        shifted = exponent + width
        if shifted < 64 and not unsigned_less(value, i64(1) << shifted):
            exponent = shifted
    return 4 * (exponent - 1) + ((value >> (exponent - 2)) & 3)


@kernel_function
def _fill(table: int, start: int, frequency: int, symbol: int) -> None:
    """Give `frequency` slots from `start` on to a symbol."""
    offset = codec.TABLE_SYMBOLS + codec.SYMBOL_BYTES * symbol
    entry = (frequency << 16) | (offset << 32)
    address = table + codec.TABLE_ENTRIES + codec.ENTRY_BYTES * start
    for place in range(frequency):
        store_i64(address, entry | place)
        address += codec.ENTRY_BYTES


@kernel_function
def build_uniform_table(memory: int) -> None:
    """Table 0: every bucket with the same frequency; the four symbols beyond them are errors."""
    table = memory + codec.TABLES_BASE
    head = table_at(table)
    head.log = codec.BUCKET_BITS
    head.mask = (1 << codec.BUCKET_BITS) - 1
    head.symbol_count = codec.BUCKETS
    for bucket in range(codec.MAX_SYMBOLS):
        symbol = symbol_at(table + codec.TABLE_SYMBOLS + codec.SYMBOL_BYTES * bucket)
        if bucket < codec.BUCKETS:
            symbol.base = bucket_base(bucket)
            symbol.packed = bucket_bits(bucket)
        else:
            symbol.base = 0
            symbol.packed = codec.INVALID_SYMBOL
        _fill(table, i64(bucket), 1, i64(bucket))


@kernel_function
def _read_frequency(memory: int, left: int, last: bool) -> int:
    """A symbol's frequency; the last one takes what is left.  At least 1, at most `left`."""
    if last:
        frequency = left
    else:
        frequency = read_varint(memory) + 1
    if frequency < 1 or frequency > left:
        reject_encoding(memory)
        return i64(0)
    return frequency


@kernel_function
def symbol_base(symbols: int, index: int) -> int:
    """Least value of a table's symbol; `symbols` is the native address of the first."""
    return load_i64(symbols + codec.SYMBOL_BYTES * index)


@kernel_function
def _mark_singles(table: int, buckets: int, count: int) -> None:
    """Note in each bucket which singles lie inside it; both ascend."""
    symbols = table + codec.TABLE_SYMBOLS
    index = i64(0)
    for single in range(buckets, count):
        bucket = bucket_of(symbol_base(symbols, single))
        base = bucket_base(bucket)
        while index < buckets and unsigned_less(symbol_base(symbols, index), base):
            index += 1
        if index < buckets:
            symbol = symbol_at(symbols + codec.SYMBOL_BYTES * index)
            if i64(symbol.base) == base:
                packed = i64(symbol.packed)
                if packed >> 24 == 0:
                    packed |= single << 8
                symbol.packed = (packed & 0xFF_FFFF) | ((single + 1) << 24)


@kernel_function
def _read_symbols(memory: int, table: int, buckets: int, singles: int, total: int) -> None:
    """Read buckets, then singles, each as a gap from the one before, with frequencies."""
    count = buckets + singles
    left = total
    previous = i64(-1)
    for index in range(count):
        if index == buckets:
            previous = i64(7)
        # Singles below 8 would repeat a bucket that has no extra bits.
        value = previous + 1 + read_varint(memory)
        if value <= previous or (index < buckets and value >= codec.BUCKETS):
            reject_encoding(memory)
            return
        previous = value
        frequency = _read_frequency(memory, left, index == count - 1)
        symbol = symbol_at(table + codec.TABLE_SYMBOLS + codec.SYMBOL_BYTES * index)
        if index < buckets:
            symbol.base = bucket_base(value)
            symbol.packed = bucket_bits(value)
        else:
            symbol.base = value
            symbol.packed = 0
        _fill(table, total - left, frequency, i64(index))
        left -= frequency
        if frequency == 0:
            return


@kernel_function
def _read_table(memory: int, table: int) -> None:
    """Read one table into its place; leaves a safe table behind whatever the input is."""
    head = table_at(table)
    log = read_byte(memory)
    buckets = read_varint(memory)
    singles = read_varint(memory)
    if log > codec.MAX_TABLE_LOG or buckets > codec.BUCKETS or singles > codec.MAX_SYMBOLS:
        reject_encoding(memory)
        return
    count = buckets + singles
    if count < 1 or count > codec.MAX_SYMBOLS:
        reject_encoding(memory)
        return
    head.log = log
    head.mask = (i64(1) << log) - 1
    head.symbol_count = count
    _read_symbols(memory, table, buckets, singles, i64(1) << log)
    _mark_singles(table, buckets, count)


@kernel_function
def _read_choices(memory: int, tables: int) -> None:
    """Read which table each context uses; 0 is the uniform one.

    Tables are numbered by first use and each is used, so there is one way to write the choices.
    """
    highest = i64(0)
    for context in range(codec.CONTEXTS):
        choice = i64(0)
        if tables > 0:
            choice = read_byte(memory)
        if choice > highest + 1 or choice > tables:
            reject_encoding(memory)
            choice = i64(0)
        if choice == highest + 1:
            highest = choice
        table = codec.TABLES_BASE + codec.TABLE_BYTES * choice
        store_i64(memory + codec.CONTEXT_TABLES_BASE + 8 * context, table)
    if highest != tables:
        reject_encoding(memory)


@kernel_function
def read_tables(memory: int) -> None:
    """Read the tables; each context then has one that is safe to decode with."""
    build_uniform_table(memory)
    tables = read_byte(memory)
    if tables >= codec.MAX_TABLES:
        reject_encoding(memory)
        tables = i64(0)
    for index in range(tables):
        _read_table(memory, memory + codec.TABLES_BASE + codec.TABLE_BYTES * (1 + index))
    _read_choices(memory, tables)
