"""One short run over every part of the kernel, for comparing ways to execute the same source.

`python -m tests.kernel.scenario` prints the digests of the state, the journal and the events
after live blocks, and of the state and the journal after the same blocks as a batch.
"""

import hashlib
import json

from tests.kernel.conftest import Chain, place

from entresol.crypto import eip712
from entresol.kernel import layout, transition
from entresol.kernel.invariants import check_invariants
from entresol.rollup.batch_encoder import encode_batch
from entresol.rollup.block import Block, encode_block
from entresol.rollup.message import LaneMessage, Operation, encode_message

BUY, SELL = layout.BUY, layout.SELL
CASH = 1_000_000_000_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def step(chain: Chain, time_ms: int, items: list, messages: list) -> tuple[Block, list[bytes]]:
    """One live block; `messages` are functions of the chain, so that sequences are fresh."""
    number = int(chain.header["next_block"])
    raw_items = chain.put_items(items)
    assert transition.open_block(chain.base, time_ms, len(items)) == 0
    raw = []
    for build in messages:
        raw.append(encode_message(build()))
        assert chain.send(raw[-1]) == 0
    assert chain.close() == 0
    assert check_invariants(chain.base) == 0
    block = Block(number=number, time_ms=time_ms, inbox_count=len(items), messages=tuple(raw))
    return block, raw_items


def trade(chain: Chain, lanes: list[int], publisher: int) -> tuple[list[bytes], list[bytes]]:
    """The live blocks of the batch and the inbox items they consume."""
    buyer, seller = lanes
    quote = [
        Operation(kind=layout.MASS_QUOTE, count=2),
        Operation(kind=layout.QUOTE_LEG, slot=8, price=599_990, quantity=7),
        Operation(kind=layout.QUOTE_LEG, flags=1, slot=9, price=600_010, quantity=7),
    ]
    price = Operation(kind=layout.ORACLE_INDEX, value=60_100_000_000)
    steps = [
        (
            2_000,
            [chain.deposit_item(9, CASH), chain.deposit_item(10, 1)],
            [
                lambda: chain.lane_message(buyer, place(BUY, 600_000, 5, 1), Operation(kind=99)),
                lambda: chain.lane_message(seller, place(SELL, 600_000, 3), *quote),
            ],
        ),
        (
            2_900,
            [chain.item(layout.INBOX_WITHDRAW, 7, recipient=b"\5" * 20, amount=77)],
            [
                lambda: chain.lane_message(publisher, price),
                lambda: chain.owner_message(3, 7, layout.WITHDRAW, address=b"\6" * 20, amount=5),
                lambda: chain.lane_message(buyer, Operation(kind=layout.CANCEL, slot=1)),
                lambda: chain.owner_message(4, 8, layout.OWNER_TRANSFER, account=5, amount=6),
            ],
        ),
        (
            3_000,
            [chain.item(layout.INBOX_CANCEL_ALL, 8), chain.item(0, 8)],
            [lambda: chain.owner_message(3, 7, layout.REVOKE_LANE, lane=buyer)],
        ),
    ]
    plain, items = [], []
    for time_ms, raw, messages in steps:
        block, consumed = step(chain, time_ms, raw, messages)
        plain.append(encode_block(block))
        items += consumed
    return plain, items


def signatures(chain: Chain, plain: list[bytes], lanes: dict[int, tuple[int, bytes]]) -> list:
    """Signatures by first message; `lanes` maps a lane to its person and final tip."""
    order = []
    from entresol.rollup.block import decode_block
    from entresol.rollup.message import decode_message

    for block in plain:
        for raw in decode_block(block).messages:
            message = decode_message(raw)
            if isinstance(message, LaneMessage) and message.lane not in order:
                order.append(message.lane)
    return [
        chain.sign(person, eip712.lane_tip_digest(chain.domain, tip))
        for person, tip in (lanes[lane] for lane in order)
    ]


def run() -> dict[str, str]:
    chain = Chain()
    publisher, lanes = chain.start_market(7, 8, amount=CASH)
    assert chain.close() == 0
    before, other = Chain(), Chain()
    for memory in (before.memory, other.memory):
        memory.copy_state_from(chain.memory)
    first_item = int(chain.header["inbox_position"])
    people = {publisher: 102, lanes[0]: 107, lanes[1]: 108}
    tips = {}
    original = chain.send

    def send(message: bytes) -> int:
        status = original(message)
        lane = int.from_bytes(message[:4], "little")
        if message[6] == layout.LANE_MESSAGE:
            tips[lane] = (people[lane], chain.durable["lane"]["tip"][lane].tobytes())
        return status

    chain.send = send
    plain, items = trade(chain, lanes, publisher)
    for each in (before, other):
        each.memory.write(layout.INBOX_ITEMS_BASE, b"".join(items))
        each.set_params(inbox_first=first_item, inbox_count=len(items), l1_time=5)
    data = encode_batch(other.memory, plain, signatures(chain, plain, tips))
    before.memory.clear("SCRATCH")
    before.put(data)
    before.set_params(data_bytes=len(data))
    status = int(transition.apply_batch(before.base))
    return {
        "live": digest(chain.state()),
        "events": digest(chain.events().tobytes()),
        "status": str(status),
        "batch": digest(before.state()),
        "journal": digest(before.memory.read(layout.JOURNAL_BASE, 512)),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
