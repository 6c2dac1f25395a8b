"""The pool answers every check once, in bounds, also when a worker dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import venue

from entresol.sequencing.signatures import SignaturePool, SignaturePoolError, is_signed_by

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = venue.key("signer")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[SignaturePool]:
    pool = SignaturePool(workers=2, limit=300)
    await pool.start()
    yield pool
    await pool.close()


def submit(
    pool: SignaturePool, digest: bytes, signature: bytes, address: bytes = KEY.address
) -> "asyncio.Future[bool]":
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    assert pool.submit(digest, signature, address, future.set_result)
    return future


async def test_good_and_bad_signatures_are_told_apart(pool: SignaturePool) -> None:
    digests = [bytes([n]) * 32 for n in range(100)]
    checks = []
    for n, digest in enumerate(digests):
        signature, checked = KEY.sign(digest), digest
        match n % 4:
            case 1:
                signature = bytes([signature[0] ^ 1]) + signature[1:]
            case 2:
                checked = digest[:31] + b"\xff"
            case 3:
                checks.append(submit(pool, digest, signature, bytes(20)))
                continue
        checks.append(submit(pool, checked, signature))
    answers = await asyncio.gather(*checks)
    assert [n for n, good in enumerate(answers) if good] == [n for n in range(100) if n % 4 == 0]
    assert pool.pending == 0


async def test_high_s_and_odd_v_are_refused() -> None:
    digest = b"\7" * 32
    signature = KEY.sign(digest)
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    high = (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    flipped = signature[:32] + high + bytes([55 - signature[64]])
    assert is_signed_by(digest, signature, KEY.address)
    assert not is_signed_by(digest, flipped, KEY.address)
    for v in (0, 1, 26, 29, 255):
        assert not is_signed_by(digest, signature[:64] + bytes([v]), KEY.address)


async def test_the_limit_is_kept_and_said(pool: SignaturePool) -> None:
    digest = b"\1" * 32
    signature = KEY.sign(digest)
    futures = [submit(pool, digest, signature) for _ in range(300)]
    assert not pool.submit(digest, signature, KEY.address, lambda _: None)
    assert all(await asyncio.gather(*futures))
    assert await submit(pool, digest, signature)


async def test_a_killed_worker_is_replaced_and_its_checks_are_answered(
    pool: SignaturePool,
) -> None:
    digest = b"\2" * 32
    signature = KEY.sign(digest)
    before = pool.restarts
    victim = pool._workers[0].process.pid
    assert victim is not None
    futures = [submit(pool, digest, signature) for _ in range(250)]
    os.kill(victim, signal.SIGKILL)
    assert all(await asyncio.wait_for(asyncio.gather(*futures), 60))
    more = [submit(pool, digest, signature) for _ in range(250)]
    assert all(await asyncio.wait_for(asyncio.gather(*more), 60))
    async with asyncio.timeout(60):
        while pool.restarts == before or not all(worker.ready for worker in pool._workers):
            await asyncio.sleep(0.01)
    assert pool.restarts == before + 1
    assert len({worker.process.pid for worker in pool._workers} - {victim}) == 2


async def test_no_workers_is_a_clear_error() -> None:
    with pytest.raises(SignaturePoolError, match="At least one"):
        SignaturePool(workers=0, limit=1)
