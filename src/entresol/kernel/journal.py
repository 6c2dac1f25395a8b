"""The journal: what a valid batch tells L1, on a page that is zero when the run starts."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.layout import DURABLE_BASE, JOURNAL_BASE, SCRATCH_RUN_BASE
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, field_address, journal_at, params_at
from entresol.kernel.words import copy_words


def _header(name: str) -> int:
    return field_address(DURABLE_BASE, layout.HEADER, name)


def _journal(name: str) -> int:
    return field_address(JOURNAL_BASE, layout.JOURNAL, name)


_COPIED: Final = (
    (_journal("withdrawals_root"), _header("withdrawal_root")),
    (_journal("inbox_hash"), _header("inbox_hash")),
    (_journal("last_header_hash"), _header("last_header_hash")),
    (
        _journal("headers_root"),
        field_address(SCRATCH_RUN_BASE, layout.RUN, "headers_root"),
    ),
)


@kernel_function
def write_journal(memory: int, first_block: int, first_time_ms: int, records: int) -> None:
    """Fill the page from the header after the batch's last block.

    `records` is the batch's count of 32-byte records; `first_*` are its first block's.
    """
    header = durable_at(memory + DURABLE_BASE).header
    journal = journal_at(memory + JOURNAL_BASE)
    journal.encoding_version = layout.ENCODING_VERSION
    journal.data_kind = i64(params_at(memory + layout.PARAMS_BASE).data_kind)
    journal.withdrawals_count = i64(header.withdrawal_count)
    journal.inbox_position = i64(header.inbox_position)
    journal.first_time_ms = first_time_ms
    journal.last_time_ms = i64(header.last_time_ms)
    journal.first_block = first_block
    journal.next_block = i64(header.next_block)
    journal.operation_count = records
    for out, source in _COPIED:
        copy_words(memory + out, memory + source, 4)
