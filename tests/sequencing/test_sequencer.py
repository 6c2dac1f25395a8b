"""The sequencer orders, applies, journals and answers; a restart comes to the same state."""

import asyncio
import itertools
import pathlib
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
import venue

from entresol.client.operations import cancel, place
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal, Rejection
from entresol.machine.memory import Memory, difference
from entresol.rollup.message import Operation
from entresol.sequencing import entries, sequencer
from entresol.sequencing.admission import Admission, Session
from entresol.sequencing.entries import decode_entry
from entresol.sequencing.journal import JournalReader
from entresol.sequencing.open_batch import BatchLimits
from entresol.sequencing.outcomes import Accepted, GatewayRefusal, Refused, Result
from entresol.sequencing.receipts import ReceiptSigner, verify_receipt
from entresol.sequencing.recovery import JOURNAL_FOLDER, recover
from entresol.sequencing.sequencer import Sequencer, SequencerSettings
from entresol.sequencing.signatures import SignaturePool

DOMAIN = venue.GENESIS.domain
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Gateway:
    """Admission and sequencer on one journal folder."""

    def __init__(self, directory: pathlib.Path, pool: SignaturePool, **limits: int) -> None:
        self.memory = venue.genesis_memory()
        self.recovered = recover(directory, self.memory, DOMAIN)
        settings = SequencerSettings(
            block_interval_ms=limits.get("block_interval_ms", 20),
            messages_per_turn=64,
            inbox_items_per_block=1000,
            batch=BatchLimits(
                blocks=limits.get("blocks", 1000),
                age_ms=limits.get("age_ms", 3_600_000),
                operations=200_000,
                estimated_bytes=500_000,
                inbox_items=4000,
            ),
        )
        self.sequencer = Sequencer(
            execution=self.recovered.execution,
            journal=self.recovered.journal,
            batch=self.recovered.batch,
            domain=DOMAIN,
            pool=pool,
            settings=settings,
            clock_ms=venue.now_ms,
        )
        self.admission = Admission(
            memory=self.memory,
            domain=DOMAIN,
            pool=pool,
            forward=self.sequencer.enqueue,
            clock_ms=venue.now_ms,
            pending_limit=limits.get("pending_limit", 10_000),
            session_limit=limits.get("session_limit", 5_000),
            is_overloaded=lambda: self.recovered.journal.is_full,
        )
        self.session = Session()
        self.sequencer.on_failure = traceback.print_exception

    def send(
        self, message: bytes, signature: bytes, session: Session | None = None
    ) -> "asyncio.Future[Result]":
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.admission.submit(session or self.session, message, signature, future.set_result)
        return future

    async def accept(self, message: bytes, signature: bytes) -> Accepted:
        result = await self.send(message, signature)
        assert isinstance(result, Accepted), result
        return result

    async def open_venue(self, members: list[venue.Trader]) -> None:
        self.sequencer.offer_inbox(venue.opening_items(members))
        while int(self.recovered.execution.header["inbox_position"]) < len(members):
            await asyncio.sleep(0.001)
        for message, signature in venue.opening_messages(members):
            accepted = await self.accept(message, signature)
            assert not any(accepted.statuses), accepted

    async def close(self) -> None:
        self.admission.is_stopping = True
        await self.sequencer.stop()
        self.recovered.journal.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[SignaturePool]:
    pool = SignaturePool(workers=1, limit=2000)
    await pool.start()
    yield pool
    await pool.close()


@asynccontextmanager
async def gateway(
    directory: pathlib.Path, pool: SignaturePool, **limits: int
) -> AsyncIterator[Gateway]:
    running = Gateway(directory, pool, **limits)
    try:
        yield running
        assert running.sequencer.failure is None
    finally:
        await running.close()


def replayed(directory: pathlib.Path) -> Memory:
    memory = venue.genesis_memory()
    recover(directory, memory, DOMAIN).journal.close()
    return memory


async def test_orders_are_applied_answered_and_survive_a_restart(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(3)
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        signed = [trader.message(10) for _ in range(30) for trader in members]
        results = await asyncio.gather(*(node.send(m.data, m.signature) for m in signed))
        assert all(isinstance(result, Accepted) for result in results)
        places = [(r.receipt.block, r.receipt.index) for r in results if isinstance(r, Accepted)]
        assert len(set(places)) == len(signed)
        for message, result in zip(signed, results, strict=True):
            assert isinstance(result, Accepted)
            assert result.receipt.tip == message.tip
            assert result.receipt.sequence == message.sequence
            assert len(result.statuses) == 10 and -1 not in result.statuses
        assert any(sum(r.filled) for r in results if isinstance(r, Accepted))
    assert difference(node.memory, replayed(tmp_path), ["STATE"]) == []


async def test_a_block_closes_early_when_its_bytes_would_outgrow_a_data_record(
    tmp_path: pathlib.Path, pool: SignaturePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = venue.traders(2)
    async with gateway(tmp_path, pool, block_interval_ms=60_000) as node:
        await node.open_venue(members)
        monkeypatch.setattr(sequencer, "_BLOCK_BYTES", 1000)
        signed = [trader.message(10) for _ in range(12) for trader in members]
        results = await asyncio.gather(*(node.send(m.data, m.signature) for m in signed))
        blocks = [r.receipt.block for r in results if isinstance(r, Accepted)]
        assert len(blocks) == len(signed)
        # A message of ten records is 352 bytes: three of them pass 1,000.
        counts = [blocks.count(block) for block in sorted(set(blocks))]
        assert max(counts) <= 3 and len(counts) >= 8
    assert difference(node.memory, replayed(tmp_path), ["STATE"]) == []


async def test_outcomes_say_slot_fill_and_rejection(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    maker, taker = members = venue.traders(2)
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        tick = venue.MARK_TICK
        rest = maker.sign(
            place(0, layout.SELL, tick + 2, 5, slot=7),
            place(0, layout.SELL, tick + 2, 5, slot=7),
            place(0, layout.SELL, tick + 3, 5),
        )
        accepted = await node.accept(rest.data, rest.signature)
        assert accepted.statuses == [0, Rejection.SLOT_IN_USE, 0]
        assert accepted.slots[0] == 7 and accepted.slots[2] != 7
        assert accepted.filled == [0, 0, 0]
        take = taker.sign(
            place(0, layout.BUY, tick + 3, 8),
            place(0, layout.BUY, tick - 9, 1, slot=3),
            cancel(3),
            cancel(3),
        )
        accepted = await node.accept(take.data, take.signature)
        assert accepted.statuses[:2] == [0, 0] and accepted.filled == [8, 0, 0, 0]
        quote = Operation(kind=layout.MASS_QUOTE, count=2)
        legs = [
            Operation(kind=layout.QUOTE_LEG, flags=flags, slot=slot, price=price, quantity=4)
            for flags, slot, price in ((0, 20, tick - 3), (0, 21, tick + 9))
        ]
        message = taker.sign(quote, *legs, place(0, layout.SELL, tick + 40, 1))
        accepted = await node.accept(message.data, message.signature)
        assert accepted.statuses == [0, 0, Rejection.POST_ONLY_WOULD_CROSS, 0]
        assert accepted.slots[1:3] == [20, 21]


async def test_receipts_verify_and_bind_every_field(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(1)
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        signed = members[0].message(3)
        receipt = (await node.accept(signed.data, signed.signature)).receipt
        signature = receipt.sign(DOMAIN, venue.SEQUENCER.secret)
        address = venue.SEQUENCER.address
        assert verify_receipt(receipt, signature, DOMAIN, address)
        assert ReceiptSigner(venue.SEQUENCER.secret, DOMAIN).sign(receipt) == signature
        for name in receipt.__slots__:
            value = getattr(receipt, name)
            other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
            changed = type(receipt)(
                **{**{n: getattr(receipt, n) for n in receipt.__slots__}, name: other}
            )
            assert not verify_receipt(changed, signature, DOMAIN, address)


async def test_a_lanes_messages_pipeline_and_a_bad_one_stops_only_what_follows(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(2)
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        good = [members[0].message(1) for _ in range(3)]
        bad = members[0].message(1)
        after = [members[0].message(1) for _ in range(2)]
        other = members[1].message(1)
        futures = [node.send(m.data, m.signature) for m in good]
        futures.append(node.send(bad.data, bytes(64) + b"\x1b"))
        futures += [node.send(m.data, m.signature) for m in [*after, other]]
        results = await asyncio.gather(*futures)
        assert [type(result) for result in results[:3]] == [Accepted] * 3
        assert results[3] == Refused(Refusal.BAD_SIGNATURE, good[-1].tip, good[-1].sequence)
        assert [r.reason for r in results[4:6]] == [GatewayRefusal.PREDECESSOR_REFUSED] * 2
        assert isinstance(results[6], Accepted)
        resumed = members[0].signer.resume(
            results[3].tip, results[3].sequence, [bad, *after], venue.now_ms() + venue.FAR
        )
        again = await asyncio.gather(*(node.send(m.data, m.signature) for m in resumed))
        assert [type(result) for result in again] == [Accepted] * 3


async def test_another_sessions_rubbish_does_not_disturb_a_lane(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(1)
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        signed = members[0].message(1)
        attacker = Session()
        attack = node.send(signed.data, bytes(64) + b"\x1b", attacker)
        honest = node.send(signed.data, signed.signature)
        assert isinstance(await honest, Accepted)
        assert isinstance(await attack, Refused)
        assert attacker.bad_signatures == 1 and not attacker.chains and attacker.pending == 0
        replay = await node.send(signed.data, signed.signature, Session())
        assert replay == Refused(Refusal.WRONG_SEQUENCE, signed.tip, signed.sequence)


async def test_refusals_change_nothing_and_name_their_reason(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(1)
    trader = members[0]
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        await asyncio.sleep(0.05)
        before = node.memory.read(layout.DURABLE_BASE, 4096)
        signed = trader.message(2)
        cases = {
            Refusal.BAD_FRAMING: [
                b"",
                b"x",
                signed.data[:-1],
                signed.data + bytes(32),
                bytes(4000),
            ],
            Refusal.BAD_VERSION: [signed.data[:7] + b"\x09" + signed.data[8:]],
            Refusal.UNKNOWN_LANE: [
                (99).to_bytes(4, "little") + signed.data[4:],
                (1 << 31).to_bytes(4, "little") + signed.data[4:],
                bytes(4) + signed.data[4:],
            ],
            Refusal.EXPIRED: [signed.data[:8] + (1).to_bytes(8, "little") + signed.data[16:]],
            Refusal.WRONG_SEQUENCE: [
                signed.data[:16] + (1 << 63).to_bytes(8, "little") + signed.data[24:]
            ],
            Refusal.BAD_SIGNATURE: [signed.data[:-1] + b"\x01"],
        }
        for reason, messages in cases.items():
            for message in messages:
                result = await node.send(message, signed.signature)
                assert isinstance(result, Refused) and result.reason == reason, (reason, result)
        for signature in (b"", bytes(65), signed.signature[:-1], bytes([255] * 65)):
            result = await node.send(signed.data, signature)
            assert isinstance(result, Refused) and result.reason == Refusal.BAD_SIGNATURE
        owner = venue.register(venue.key("stranger"), trader.account, trader.session, 1, nonce=2)
        result = await node.send(owner, b"")
        assert isinstance(result, Refused) and result.reason == Refusal.BAD_SIGNATURE
        assert node.memory.read(layout.DURABLE_BASE, 4096) == before
        assert isinstance(await node.send(signed.data, signed.signature), Accepted)


async def test_full_queues_answer_at_once(tmp_path: pathlib.Path, pool: SignaturePool) -> None:
    members = venue.traders(1)
    async with gateway(tmp_path, pool, pending_limit=20, session_limit=10) as node:
        await node.open_venue(members)
        futures = [
            node.send(m.data, m.signature) for m in (members[0].message(1) for _ in range(30))
        ]
        assert sum(future.done() for future in futures) == 20
        results = await asyncio.gather(*futures)
        assert [type(result) for result in results[:10]] == [Accepted] * 10
        assert {result.reason for result in results[10:]} == {GatewayRefusal.QUEUE_FULL}
        assert node.admission.pending == 0 and node.session.pending == 0


async def test_batches_are_sealed_by_block_count_and_cover_every_block(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(2)
    sealed: list[entries.BatchSealed] = []
    async with gateway(tmp_path, pool, blocks=3, block_interval_ms=5) as node:
        node.sequencer.on_sealed = lambda batch, _: sealed.append(batch)
        await node.open_venue(members)
        for _ in range(12):
            signed = members[0].message(2)
            await node.accept(signed.data, signed.signature)
            await asyncio.sleep(0.008)
    assert len(sealed) >= 2
    assert [batch.number for batch in sealed] == list(range(len(sealed)))
    assert sealed[0].first_block == 1
    for earlier, later in itertools.pairwise(sealed):
        assert later.first_block == earlier.next_block > earlier.first_block
    frames = JournalReader(tmp_path / JOURNAL_FOLDER, DOMAIN).read()
    found = [e for e in map(decode_entry, frames) if isinstance(e, entries.BatchSealed)]
    assert found == sealed
    again = recover(tmp_path, venue.genesis_memory(), DOMAIN)
    again.journal.close()
    assert again.batch.number == len(sealed)
    assert again.batch.first_block == sealed[-1].next_block


async def test_a_quiet_venue_seals_by_age(tmp_path: pathlib.Path, pool: SignaturePool) -> None:
    members = venue.traders(1)
    sealed: list[entries.BatchSealed] = []
    async with gateway(tmp_path, pool, age_ms=300) as node:
        node.sequencer.on_sealed = lambda batch, _: sealed.append(batch)
        await node.open_venue(members)
        async with asyncio.timeout(10):
            while not sealed or sealed[-1].next_block < node.recovered.execution.next_block:
                node.sequencer.seal_if_due()
                await asyncio.sleep(0.02)
        count = len(sealed)
        await asyncio.sleep(0.4)
        node.sequencer.seal_if_due()
        await asyncio.sleep(0.05)
        assert len(sealed) == count, "nothing new, nothing to seal"


async def test_a_block_left_open_by_a_crash_is_closed_with_its_messages(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    members = venue.traders(2)
    node = Gateway(tmp_path, pool, block_interval_ms=10_000)
    await node.open_venue(members)
    signed = members[0].message(5)
    accepted = await node.accept(signed.data, signed.signature)
    node.recovered.journal.close()  # what a crash leaves: no CLOSE on disk
    memory = venue.genesis_memory()
    recovered = recover(tmp_path, memory, DOMAIN)
    assert recovered.execution.next_block == accepted.receipt.block + 1
    lane = memory.view(layout.DURABLE_BASE, layout.DURABLE)["lane"][members[0].lane]
    assert lane["tip"].tobytes() == signed.tip
    recovered.journal.close()
    assert difference(memory, replayed(tmp_path), ["STATE"]) == []


async def test_a_forced_cancel_all_between_admission_and_application_refuses_the_message(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    """The lane's registration ends on L1 while a message signed for it is on its way."""
    members = venue.traders(1)
    trader = members[0]
    async with gateway(tmp_path, pool) as node:
        await node.open_venue(members)
        signed = trader.message(1)
        from entresol.rollup.inbox import InboxItem

        revoke = InboxItem(
            kind=layout.INBOX_REVOKE_LANE,
            sender=trader.owner.address,
            lane=trader.lane,
            position=1,
        ).encode()
        future = node.send(signed.data, signed.signature)
        while node.sequencer._open:
            node.sequencer._close_block()
        node.sequencer.offer_inbox([revoke])
        result = await future
        assert isinstance(result, Refused)
        assert result.reason in (Refusal.UNKNOWN_LANE, GatewayRefusal.WRONG_TIP)
