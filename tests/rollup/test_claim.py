import dataclasses

import pytest

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.claim import EMPTY_JOURNAL, Claim, Journal, claim_id, decode_journal
from entresol.rollup.errors import ClaimError

CLAIM = Claim(
    chain_id=31337,
    rollup=b"\x01" * 20,
    record_index=2,
    program_id=b"\x03" * 32,
    durable_before=b"\x04" * 32,
    volatile_before=b"\x05" * 32,
    data_record=b"\x06" * 32,
    durable_after=b"\x07" * 32,
    volatile_after=b"\x08" * 32,
    exit_code=0,
    journal_hash=b"\x09" * 32,
)


def test_claim_id_is_keccak_of_eleven_words():
    words = [(31337).to_bytes(32, "big"), bytes(12) + b"\x01" * 20, (2).to_bytes(32, "big")]
    words += [bytes([n]) * 32 for n in range(3, 9)]
    words += [bytes(32), b"\x09" * 32]
    assert CLAIM.encode() == b"".join(words)
    assert claim_id(CLAIM) == CLAIM.identifier == keccak256(b"".join(words))


def test_every_field_changes_the_id():
    seen = {CLAIM.identifier}
    for field in dataclasses.fields(CLAIM):
        value = getattr(CLAIM, field.name)
        other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        seen.add(dataclasses.replace(CLAIM, **{field.name: other}).identifier)
    assert len(seen) == 12


def test_wrong_widths_are_refused():
    with pytest.raises(ClaimError):
        dataclasses.replace(CLAIM, program_id=b"\x01").encode()
    with pytest.raises(ClaimError):
        dataclasses.replace(CLAIM, exit_code=-1).encode()


def test_journal_round_trip_and_strictness():
    journal = Journal(
        encoding_version=1, withdrawals_root=b"\x01" * 32, next_block=9, headers_root=b"\x02" * 32
    )
    data = journal.encode()
    assert len(data) == 512
    assert decode_journal(data) == journal
    assert journal.digest == keccak256(data)
    assert decode_journal(EMPTY_JOURNAL) == Journal()
    offset = layout.JOURNAL.fields["reserved"][1]
    broken = bytearray(data)
    broken[offset] = 1
    with pytest.raises(ClaimError):
        decode_journal(bytes(broken))
    with pytest.raises(ClaimError):
        decode_journal(data + b"\0")
