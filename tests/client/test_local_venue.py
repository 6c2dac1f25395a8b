import pytest

from entresol.client.errors import OrderRejectedError
from entresol.client.listing import list_perpetual
from entresol.client.local_venue import LocalVenue, named_key
from entresol.client.market_data import UNIT
from entresol.client.operations import index_price, place
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.kernel.rejections import Rejection
from entresol.machine.execute import prepare, run_batch_native
from entresol.machine.memory import Memory
from entresol.rollup.batch_encoder import BatchEncoder

INDEX = 60_000 * UNIT


async def test_two_traders_trade_and_the_batch_replays() -> None:
    venue = LocalVenue()
    perpetual = venue.list(list_perpetual("BTC", INDEX))
    oracle = venue.open_lane(venue.publisher, layout.PUBLISHER_ACCOUNT, layout.PERMISSION_ORACLE)
    await oracle.submit([index_price(0, INDEX)])
    lanes = []
    for name in ("seller", "buyer"):
        owner = named_key(name)
        account = venue.deposit(owner, 1_000_000 * UNIT)
        lanes.append(venue.open_lane(owner, account, layout.PERMISSION_TRADE))
    tick = perpetual.ticks("60000")
    rested = await lanes[0].submit([place(0, layout.SELL, tick, 50)])
    assert (rested.statuses, rested.filled) == ((0,), (0,))
    taken = await lanes[1].submit([place(0, layout.BUY, tick, 20)])
    assert (taken.statuses, taken.filled) == ((0,), (20,))
    far = await lanes[1].submit([place(0, layout.BUY, 1, 20)])
    with pytest.raises(OrderRejectedError) as caught:
        far.raise_for_rejection()
    assert caught.value.rejection == Rejection.PRICE_OUT_OF_RANGE
    venue.check()

    batch = venue.seal()
    encoding, replay = Memory(), Memory()
    for memory in (encoding, replay):
        build_genesis(memory.base, venue.configuration)
    items = b"".join(batch.inbox_items)
    prepare(encoding, venue.parameters(batch, 0), b"", items)
    encoder = BatchEncoder(encoding)
    for block in batch.blocks:
        encoder.add_block(block)
    data = encoder.finish(batch.lane_signatures)
    run = run_batch_native(replay, venue.parameters(batch, len(data)), data, items)
    assert run.exit_code == 0
    for address in (layout.DURABLE_BASE, layout.VOLATILE_BASE):
        assert replay.read(address, 1 << 24) == encoding.read(address, 1 << 24)
