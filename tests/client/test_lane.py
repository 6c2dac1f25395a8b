"""The channel against a lane that follows the protocol's acceptance rule, with faults on demand."""

import asyncio
from collections.abc import Callable

import pytest

from entresol.client.errors import ConnectionLostError, MessageRefusedError
from entresol.client.keys import key_from_secret
from entresol.client.lane import LaneChannel
from entresol.client.outcome import Outcome
from entresol.client.signer import LaneSigner, SignedMessage
from entresol.crypto.secp256k1 import recover_address
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal
from entresol.rollup.message import Operation, decode_message, lane_tip_digest, next_tip
from entresol.sequencing.outcomes import GatewayRefusal

KEY = key_from_secret(b"\5" * 32)
DOMAIN = b"\x0d" * 32


class Chain:
    """A lane as the node keeps it: sequence, tip, signature; answers come one loop turn later."""

    def __init__(self) -> None:
        self.tip, self.sequence = b"\1" * 32, 0
        self.slots: list[int] = []
        self.refuse: dict[int, Refusal | GatewayRefusal] = {}  # by slot, once
        self.is_connected = True
        self.swallow = 0  # answers to lose after the message was accepted
        self.late: list[Callable[[], None]] = []
        self.hold = False

    def judge(self, message: SignedMessage) -> Refusal | GatewayRefusal | None:
        decoded = decode_message(message.data)
        slot = decoded.operations[0].slot
        if slot in self.refuse:
            return self.refuse.pop(slot)
        if decoded.sequence != self.sequence + 1:
            return Refusal.WRONG_SEQUENCE
        tip = next_tip(self.tip, message.data)
        if recover_address(lane_tip_digest(DOMAIN, tip), message.signature) != KEY.address:
            return GatewayRefusal.WRONG_TIP
        self.tip, self.sequence = tip, decoded.sequence
        self.slots.append(slot)
        return None

    async def send(self, message: SignedMessage) -> "asyncio.Future[Outcome]":
        if not self.is_connected:
            raise ConnectionLostError("gone")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()

        def deliver() -> None:
            refusal = self.judge(message)
            if answer.done():
                return
            if self.swallow:
                self.swallow -= 1
                self.is_connected = False
                answer.set_exception(ConnectionLostError("cut"))
            elif refusal is None:
                answer.set_result(Outcome(statuses=(0,)))
            else:
                answer.set_exception(MessageRefusedError(refusal))

        if self.hold:
            self.late.append(deliver)
            answer.set_exception(ConnectionLostError("cut"))
        else:
            loop.call_soon(deliver)
        return answer

    async def read(self, lane: int) -> tuple[bytes, int]:
        if not self.is_connected:
            raise ConnectionLostError("gone")
        return self.tip, self.sequence


def channel(chain: Chain) -> LaneChannel:
    signer = LaneSigner(KEY, DOMAIN, account=3, lane=1, tip=chain.tip, sequence=0)
    return LaneChannel(signer, chain.send, chain.read)


def order(slot: int) -> list[Operation]:
    return [Operation(kind=layout.CANCEL, slot=slot)]


async def test_messages_are_pipelined_in_order() -> None:
    chain = Chain()
    lane = channel(chain)
    results = [await lane.post(order(slot)) for slot in range(1, 50)]
    await lane.drain()
    assert chain.slots == list(range(1, 50))
    assert all(result.result().statuses == (0,) for result in results)


@pytest.mark.parametrize("reason", [GatewayRefusal.QUEUE_FULL, Refusal.REJECTION_LIMIT])
async def test_a_passing_refusal_delays_but_loses_and_repeats_nothing(reason: Refusal) -> None:
    chain = Chain()
    chain.refuse = {7: reason, 20: reason}
    lane = channel(chain)
    for slot in range(1, 40):
        await lane.post(order(slot))
    await lane.drain()
    assert chain.slots == list(range(1, 40))
    assert lane.counts.refusals[reason.name] == 2
    assert lane.counts.resent > 0


async def test_a_final_refusal_is_the_callers_and_the_rest_goes_on() -> None:
    chain = Chain()
    chain.refuse = {7: Refusal.KEY_EXPIRED}
    lane = channel(chain)
    results = {slot: await lane.post(order(slot)) for slot in range(1, 20)}
    await lane.drain()
    with pytest.raises(MessageRefusedError, match="KEY_EXPIRED"):
        results[7].result()
    assert chain.slots == [slot for slot in range(1, 20) if slot != 7]


async def test_after_a_reconnection_accepted_messages_are_not_repeated() -> None:
    chain = Chain()
    lane = channel(chain)
    await lane.submit(order(1))
    chain.swallow = 3
    results = [await lane.post(order(slot)) for slot in range(2, 8)]
    await asyncio.sleep(0)
    while chain.is_connected:
        await asyncio.sleep(0)
    chain.swallow = 0
    chain.is_connected = True
    lane.reconnect()
    await lane.drain()
    assert chain.slots == list(range(1, 8))
    assert [result.result().statuses for result in results[:1]] == [()]


async def test_a_message_that_arrives_late_is_not_applied_twice() -> None:
    chain = Chain()
    lane = channel(chain)
    chain.hold = True
    result = await lane.post(order(1))
    chain.hold = False

    async def read(number: int) -> tuple[bytes, int]:
        before = chain.tip, chain.sequence
        while chain.late:  # the held copy arrives just after the node was asked
            chain.late.pop()()
        return before

    lane._read_lane = read
    lane.reconnect()
    await asyncio.wait_for(result, 5)
    assert chain.slots == [1]


async def test_closing_fails_what_waits() -> None:
    chain = Chain()
    lane = channel(chain)
    chain.hold = True
    result = await lane.post(order(1))
    lane.close()
    with pytest.raises(ConnectionLostError, match="closed"):
        await result
    with pytest.raises(ConnectionLostError, match="closed"):
        await lane.submit(order(2))
