import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.client.market_data import (
    BookTicker,
    DepthUpdate,
    MarketDataError,
    Trade,
    parse_line,
    parse_millionths,
    read_events,
)

DEPTH = (
    b'12 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT",'
    b'"U":5,"u":9,"pu":4,"b":[["58710.20","0.014"],["58710.10","0.000"]],"a":[["61800.3","3"]]}}'
)
TICKER = (
    b'13 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":9,"s":"BTCUSDT",'
    b'"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1,"E":1}}'
)
TRADE = (
    b'14 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":77,'
    b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)
SNAPSHOT = b'15 {"lastUpdateId":10,"E":1,"T":1,"bids":[["1.00","2.0"]],"asks":[["3.00","4.0"]]}'


def test_each_kind_of_line() -> None:
    assert parse_line(DEPTH) == DepthUpdate(
        12, 9, ((58_710_200_000, 14_000), (58_710_100_000, 0)), ((61_800_300_000, 3_000_000),)
    )
    assert parse_line(TICKER) == BookTicker(
        13, 61_800_200_000, 2_507_000, 61_800_300_000, 2_510_000
    )
    assert parse_line(TRADE) == Trade(14, 77, 61_800_300_000, 6_000, buyer_is_maker=False)
    assert parse_line(SNAPSHOT) == DepthUpdate(
        15, 10, ((1_000_000, 2_000_000),), ((3_000_000, 4_000_000),), snapshot=True
    )


@given(st.integers(0, 10**15))
def test_millionths_are_exact(value: int) -> None:
    assert parse_millionths(f"{value // 10**6}.{value % 10**6:06}") == value


@pytest.mark.parametrize("text", ["", ".", "-1", "1e5", "0.0000001", "1_0", "१", "1.2.3", " 1"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal number|six digits"):
        parse_millionths(text)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no time",
        b"12",
        b"12 {",
        b'12 {"data":{"e":"liquidation"}}',
        DEPTH.replace(b"0.014", b"-1"),
        TRADE.replace(b'"q":"0.006"', b'"q":6'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "feed.gz"
    path.write_bytes(gzip.compress(TRADE + b"\n" + line + b"\n"))
    events = read_events(path)
    next(events)
    with pytest.raises(MarketDataError, match="line 2 of"):
        next(events)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="cannot be opened"):
        list(read_events(tmp_path / "absent.gz"))
    plain = tmp_path / "plain"
    plain.write_bytes(TRADE)
    with pytest.raises(MarketDataError, match="not a whole gzip file"):
        list(read_events(plain))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(TRADE + b"\n")[:-12])
    with pytest.raises(MarketDataError, match="not a whole gzip file"):
        list(read_events(cut))


def test_the_whole_recording(recording: Path) -> None:
    kinds: dict[str, int] = {}
    changes = 0
    for event in read_events(recording):
        kinds[type(event).__name__] = kinds.get(type(event).__name__, 0) + 1
        if isinstance(event, DepthUpdate) and not event.snapshot:
            changes += len(event.bids) + len(event.asks)
    assert kinds == {"DepthUpdate": 6_552, "BookTicker": 66_089, "Trade": 21_313}
    assert changes == 443_521
