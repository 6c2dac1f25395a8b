"""Methods that only read: instruments, books, tickers, accounts, lanes, batches, receipts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from entresol.kernel import layout, views
from entresol.kernel.accounts import NO_ACCOUNT
from entresol.machine.memory import Memory
from entresol.node.api import parameters
from entresol.node.api.errors import INTERNAL_ERROR, NOT_FOUND, ApiError, invalid_params
from entresol.node.api.messages import find_instrument
from entresol.node.api.rpc import Answer, Method
from entresol.node.feed import Feed, describe_own_trade, describe_trade, trade_of_row
from entresol.node.history import HistoryReader
from entresol.node.market.accounts import AccountReader, OpenOrder
from entresol.node.market.books import MAX_DEPTH, BookReader
from entresol.node.market.instruments import (
    KIND_NAMES,
    STATE_NAMES,
    Instrument,
    InstrumentTable,
)
from entresol.node.market.tickers import TickerReader
from entresol.node.market.units import from_micro, hexadecimal
from entresol.sequencing.batch_store import BatchStore, BuiltBatch
from entresol.sequencing.lane_state import Lane, read_lane

_NEWEST: Final = 1 << 62
_MAXIMUM_ROWS: Final = 1000


class Settlement(Protocol):
    """What the node knows of L1; absent in a node without one."""

    def batch_status(self, number: int) -> dict[str, Any]:
        """Where a batch stands on L1."""

    def withdrawal_claim(self, index: int) -> tuple[bytes, int, bytes, str] | None:
        """(claim key, withdrawals it covers, root, status) of the best claim with that leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything reads are answered from."""

    memory: Memory
    instruments: InstrumentTable
    books: BookReader
    tickers: TickerReader
    accounts: AccountReader
    feed: Feed
    history: HistoryReader
    batches: BatchStore
    settlement: Settlement | None
    domain: bytes
    token: bytes
    sequencer: bytes
    sign_receipt: Callable[[Any], bytes]
    prove_withdrawal: Callable[[int, int | None], dict[str, Any]]
    status: Callable[[], dict[str, Any]]
    clock_ms: Callable[[], int]


class Reads:
    """The read methods; those on SQLite run in a thread and answer later."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._durable: Any = views.durable(sources.memory.array)

    def methods(self) -> list[Method]:
        """Every read method of the API."""
        p = parameters
        direct: list[tuple[str, type, Callable[[Any], Any]]] = [
            ("public/get_instruments", p.Instruments, self._instruments),
            ("public/get_instrument", p.InstrumentName, self._instrument),
            ("public/get_order_book", p.OrderBook, self._order_book),
            ("public/ticker", p.InstrumentName, self._ticker),
            ("public/get_index_price", p.IndexPrice, self._index_price),
            ("public/get_time", p.Nothing, lambda _: self._sources.clock_ms()),
            ("public/test", p.Nothing, lambda _: {"version": "1"}),
            ("public/status", p.Nothing, lambda _: self._sources.status()),
            ("public/get_domain", p.Nothing, self._venue),
            ("public/get_venue", p.Nothing, self._venue),
            ("public/get_account", p.FindAccount, self._find_account),
            ("public/get_lane", p.LaneParameters, self._lane),
            ("public/get_lanes", p.AccountLanes, self._lanes),
            ("private/get_account_summary", p.AccountParameters, self._summary),
            ("private/get_positions", p.AccountParameters, self._positions),
            ("private/get_open_orders", p.AccountParameters, self._open_orders),
        ]
        stored: list[tuple[str, type, Callable[[Any], Any]]] = [
            ("public/get_receipt", p.ReceiptParameters, self._receipt),
            ("public/get_batches", p.Batches, self._batches),
            ("public/get_withdrawal_proof", p.WithdrawalProof, self._withdrawal_proof),
            ("private/get_user_trades", p.AccountHistory, self._user_trades),
            ("private/get_order_history", p.AccountHistory, self._order_history),
        ]
        trades = "public/get_last_trades_by_instrument"
        return [
            *(Method(name, kind, read=read) for name, kind, read in direct),
            *(Method(name, kind, call=_in_thread(read)) for name, kind, read in stored),
            Method(trades, p.LastTrades, call=self._last_trades),
        ]

    # --- markets -------------------------------------------------------------------------------

    def _instruments(self, params: parameters.Instruments) -> list[dict[str, Any]]:
        wanted = params.currency.upper()
        return [
            self._describe_instrument(instrument)
            for instrument in self._sources.instruments.by_name.values()
            if wanted in ("ANY", "USDC", instrument.currency)
            and params.kind in ("any", KIND_NAMES[instrument.kind])
            and (instrument.status == layout.SETTLED) == params.expired
        ]

    def _instrument(self, params: parameters.InstrumentName) -> dict[str, Any]:
        found = find_instrument(self._sources.instruments, params.instrument_name)
        return self._describe_instrument(found)

    def _describe_instrument(self, instrument: Instrument) -> dict[str, Any]:
        described = {
            "instrument_name": instrument.name,
            "instrument_id": instrument.number,
            "underlying_id": instrument.underlying,
            "kind": KIND_NAMES[instrument.kind],
            "instrument_type": "linear",
            "base_currency": instrument.currency,
            "quote_currency": "USDC",
            "settlement_currency": "USDC",
            "state": STATE_NAMES.get(instrument.status, "closed"),
            "is_active": instrument.status == layout.TRADING,
            "tick_size": from_micro(instrument.tick_size),
            "contract_size": from_micro(instrument.contract_size),
            "min_trade_amount": instrument.amount(instrument.minimum_lots),
            "base_tick": instrument.base_tick,
            "minimum_lots": instrument.minimum_lots,
            "maximum_lots": instrument.maximum_lots,
            "position_limit": instrument.position_limit,
            "taker_commission": from_micro(instrument.taker_fee_rate),
            "maker_commission": from_micro(instrument.maker_fee_rate),
            "initial_margin_rate": from_micro(instrument.initial_rate),
            "maintenance_margin_rate": from_micro(instrument.maintenance_rate),
            "margin_class": instrument.margin_class,
        }
        if instrument.kind == layout.PERPETUAL:
            return {**described, "settlement_period": "perpetual"}
        return {
            **described,
            "option_type": "call" if instrument.kind == layout.CALL else "put",
            "strike": from_micro(instrument.strike),
            "expiration_timestamp": instrument.expiry_ms,
        }

    def _order_book(self, params: parameters.OrderBook) -> dict[str, Any]:
        instrument = find_instrument(self._sources.instruments, params.instrument_name)
        if not 1 <= params.depth <= MAX_DEPTH:
            raise invalid_params(f"depth lies between 1 and {MAX_DEPTH}.", param="depth")
        book = self._sources.books.read(instrument.number, instrument.base_tick, params.depth)
        return {
            **self._sources.tickers.ticker(instrument, self._sources.clock_ms()),
            "bids": [(instrument.price(t), instrument.amount(q)) for t, q in book.bids],
            "asks": [(instrument.price(t), instrument.amount(q)) for t, q in book.asks],
        }

    def _ticker(self, params: parameters.InstrumentName) -> dict[str, Any]:
        instrument = find_instrument(self._sources.instruments, params.instrument_name)
        return self._sources.tickers.ticker(instrument, self._sources.clock_ms())

    def _index_price(self, params: parameters.IndexPrice) -> dict[str, Any]:
        tickers = self._sources.tickers
        return tickers.index(tickers.underlying(params.index_name), self._sources.clock_ms())

    def _last_trades(self, _: Any, params: parameters.LastTrades, answer: Answer) -> None:
        instrument = find_instrument(self._sources.instruments, params.instrument_name)
        count = _check_count(params.count)
        recent = self._sources.feed.recent_trades(instrument.number, count)
        if params.end_id is None and len(recent) == count:
            answer({"trades": recent, "has_more": True})
            return
        before = _row_id(params.end_id)

        def read(_: Any) -> dict[str, Any]:
            rows = self._sources.history.trades(instrument.number, count, before)
            older = [describe_trade(trade_of_row(row, self._sources.instruments)) for row in rows]
            if params.end_id is None:
                oldest = recent[-1]["trade_seq"] if recent else _NEWEST
                older = recent + [trade for trade in older if trade["trade_seq"] < oldest]
            return {"trades": older[:count], "has_more": len(older) >= count}

        _in_thread(read)(None, params, answer)

    # --- accounts and lanes --------------------------------------------------------------------

    def _venue(self, _: Any) -> dict[str, Any]:
        header = self._durable["header"]
        return {
            "chain_id": int(header["chain_id"]),
            "rollup": hexadecimal(header["rollup"].tobytes()),
            "token": hexadecimal(self._sources.token),
            "domain": hexadecimal(self._sources.domain),
            "sequencer": hexadecimal(self._sources.sequencer),
            "encoding_version": layout.ENCODING_VERSION,
            "minimum_deposit": from_micro(int(header["minimum_deposit"])),
            "rejections_per_second": int(header["rejections_per_second"]),
        }

    def _find_account(self, params: parameters.FindAccount) -> dict[str, Any]:
        try:
            owner = bytes.fromhex(params.owner.removeprefix("0x"))
        except ValueError:
            owner = b""
        if len(owner) != 20:
            raise invalid_params("owner is an address: 0x and 40 hex digits.", param="owner")
        account = self._find_owner(owner, params.subaccount)
        if account == NO_ACCOUNT:
            raise ApiError(NOT_FOUND, "No such account: deposit first.", reason="UNKNOWN_ACCOUNT")
        return {"account": account, "owner": hexadecimal(owner), "subaccount": params.subaccount}

    def _find_owner(self, owner: bytes, subaccount: int) -> int:
        """By a scan, vectorised: 16,384 records take some 50 microseconds."""
        count = int(self._durable["header"]["account_count"])
        wanted = tuple(int.from_bytes(owner[at : at + 4], "little") for at in range(0, 20, 4))
        table = self._durable["account"][:count]
        same = (table["owner"] == wanted).all(axis=1) & (table["subaccount"] == subaccount)
        found = same.nonzero()[0]
        return int(found[0]) if len(found) else NO_ACCOUNT

    def _lane(self, params: parameters.LaneParameters) -> dict[str, Any]:
        lane = read_lane(self._sources.memory, params.lane)
        if lane is None:
            raise ApiError(
                NOT_FOUND, f"No key is registered in lane {params.lane}.", reason="UNKNOWN_LANE"
            )
        return _describe_lane(params.lane, lane)

    def _lanes(self, params: parameters.AccountLanes) -> list[dict[str, Any]]:
        account = self._check_account(params.account)
        count = int(self._durable["header"]["lane_count"])
        table = self._durable["lane"][:count]
        mine = ((table["account"] == account) & (table["registration"] != 0)).nonzero()[0]
        found = ((int(number), read_lane(self._sources.memory, int(number))) for number in mine)
        return [_describe_lane(number, lane) for number, lane in found if lane is not None]

    def _check_account(self, account: int) -> int:
        if not self._sources.accounts.exists(account):
            raise ApiError(NOT_FOUND, f"There is no account {account}.", reason="UNKNOWN_ACCOUNT")
        return account

    def _summary(self, params: parameters.AccountParameters) -> dict[str, Any]:
        summary = self._sources.accounts.summary(self._check_account(params.account))
        return {
            "account": summary.account,
            "owner": hexadecimal(summary.owner),
            "owner_nonce": summary.owner_nonce,
            "subaccount": summary.subaccount,
            "currency": "USDC",
            "balance": from_micro(summary.cash),
            "equity": from_micro(summary.equity),
            "margin_balance": from_micro(summary.equity),
            "initial_margin": from_micro(summary.initial_margin),
            "maintenance_margin": from_micro(summary.maintenance_margin),
            "available_funds": from_micro(summary.equity - summary.initial_margin),
            "available_withdrawal_funds": from_micro(summary.withdrawable),
            "open_orders": summary.order_count,
            "lanes": summary.lanes,
        }

    def _positions(self, params: parameters.AccountParameters) -> list[dict[str, Any]]:
        account = self._check_account(params.account)
        found = []
        for position in self._sources.accounts.positions(account):
            instrument = self._sources.instruments.by_number[position.instrument]
            risk = self._durable["risk"][position.instrument]
            if params.instrument_name not in (None, instrument.name):
                continue
            quantity = position.quantity
            direction = "buy" if quantity > 0 else "sell" if quantity else "zero"
            found.append(
                {
                    "instrument_name": instrument.name,
                    "kind": KIND_NAMES[instrument.kind],
                    "direction": direction,
                    "size": instrument.amount(quantity),
                    "contracts": quantity,
                    "open_buy": instrument.amount(position.open_buy),
                    "open_sell": instrument.amount(position.open_sell),
                    "mark_price": from_micro(int(risk["mark"])),
                    "value": from_micro(quantity * int(risk["mark_value"])),
                }
            )
        return found

    def _open_orders(self, params: parameters.AccountParameters) -> list[dict[str, Any]]:
        orders = self._sources.accounts.open_orders(self._check_account(params.account))
        described = [describe_order(order, self._sources.instruments) for order in orders]
        name = params.instrument_name
        return [order for order in described if name in (None, order["instrument_name"])]

    # --- what is stored ------------------------------------------------------------------------

    def _receipt(self, params: parameters.ReceiptParameters) -> dict[str, Any]:
        receipt = self._sources.history.receipt(params.lane, params.sequence)
        if receipt is None:
            raise ApiError(
                NOT_FOUND,
                "No such message was accepted, or its history is not written yet.",
                reason="UNKNOWN_RECEIPT",
            )
        return describe_receipt(receipt, self._sources.sign_receipt(receipt))

    def _batches(self, params: parameters.Batches) -> list[dict[str, Any]]:
        count = _check_count(params.count)
        found = self._sources.batches.newest(count, params.before)
        return [self._describe_batch(batch) for batch in found]

    def _describe_batch(self, batch: BuiltBatch) -> dict[str, Any]:
        settlement = self._sources.settlement
        where = settlement.batch_status(batch.number) if settlement else {"status": "built"}
        return {
            "batch": batch.number,
            "first_block": batch.first_block,
            "next_block": batch.next_block,
            "first_time": batch.first_time_ms,
            "last_time": batch.last_time_ms,
            "operations": batch.operations,
            "messages": batch.messages,
            "lanes": batch.lanes,
            "raw_bytes": batch.raw_bytes,
            "data_bytes": len(batch.data),
            "inbox_first": batch.inbox_first,
            "inbox_position": batch.inbox_position,
            "withdrawals": batch.withdrawals,
            "instructions": batch.instructions,
            "dirty_leaves": batch.dirty_leaves,
            "system_calls": batch.system_calls,
            "durable_root": hexadecimal(batch.durable_after),
            "volatile_root": hexadecimal(batch.volatile_after),
            **where,
        }

    def _withdrawal_proof(self, params: parameters.WithdrawalProof) -> dict[str, Any]:
        return self._sources.prove_withdrawal(params.index, params.count)

    def _user_trades(self, params: parameters.AccountHistory) -> dict[str, Any]:
        account, count = self._check_account(params.account), _check_count(params.count)
        rows = self._sources.history.account_trades(account, count, _row_id(params.end_id))
        found = []
        for row in rows:
            trade = trade_of_row(row, self._sources.instruments)
            for role, party in (("T", trade["taker"]), ("M", trade["maker"])):
                if party[0] == account:
                    found.append(describe_own_trade(trade, party, role))
        return {"trades": found, "has_more": len(rows) == count}

    def _order_history(self, params: parameters.AccountHistory) -> list[dict[str, Any]]:
        account, count = self._check_account(params.account), _check_count(params.count)
        rows = self._sources.history.account_orders(account, count, _row_id(params.end_id))
        return [self._describe_order_row(row) for row in rows]

    def _describe_order_row(self, row: Any) -> dict[str, Any]:
        (
            number,
            time_ms,
            kind,
            account,
            slot,
            instrument_number,
            side,
            price,
            lots,
            label,
            status,
        ) = row
        instrument = self._sources.instruments.by_number[instrument_number]
        rejected = kind == layout.EVENT_OUTCOME
        names = {layout.EVENT_ORDER_RESTED: "open", layout.EVENT_OUTCOME: "rejected"}
        return {
            "event_id": str(number),
            "timestamp": time_ms,
            "order_id": f"{account}-{slot}",
            "order_state": names.get(kind, "cancelled"),
            "instrument_name": instrument.name,
            "direction": None if rejected else ("buy", "sell")[side],
            "price": None if rejected else instrument.price(price),
            "amount": None if rejected else instrument.amount(lots),
            "label": label,
            "status": status,
        }


def _check_count(count: int) -> int:
    if not 1 <= count <= _MAXIMUM_ROWS:
        raise invalid_params(f"count lies between 1 and {_MAXIMUM_ROWS}.", param="count")
    return count


def _row_id(text: str | None) -> int:
    if text is None:
        return _NEWEST
    if not text.isdecimal() or len(text) > 18:
        raise invalid_params("end_id is the id of a row, in digits.", param="end_id")
    return int(text)


def _in_thread(read: Callable[[Any], Any]) -> Callable[[Any, Any, Answer], None]:
    """A method that runs `read` in the default executor and answers when it is done."""

    def call(_: Any, params: Any, answer: Answer) -> None:
        future = asyncio.get_running_loop().run_in_executor(None, read, params)

        def finish(done: "asyncio.Future[Any]") -> None:
            error = done.exception()
            if error is None:
                answer(done.result())
            elif isinstance(error, ApiError):
                answer(error)
            else:
                sentence = "The node could not read its database; try again."
                answer(ApiError(INTERNAL_ERROR, sentence, reason=type(error).__name__))

        future.add_done_callback(finish)

    return call


def _describe_lane(number: int, lane: Lane) -> dict[str, Any]:
    return {
        "lane": number,
        "account": lane.account,
        "key": hexadecimal(lane.key),
        "tip": hexadecimal(lane.tip),
        "sequence": lane.sequence,
        "registration": lane.registration,
        "expires": lane.expires_ms,
        "permissions": lane.permissions,
    }


def describe_receipt(receipt: Any, signature: bytes) -> dict[str, Any]:
    """A receipt and its signature; names as in sequencing/receipts.py."""
    return {
        "inbox_position": receipt.inbox_position,
        "inbox_hash": hexadecimal(receipt.inbox_hash),
        "block": receipt.block,
        "index": receipt.index,
        "lane": receipt.lane,
        "sequence": receipt.sequence,
        "tip": hexadecimal(receipt.tip),
        "previous_header_hash": hexadecimal(receipt.previous_header_hash),
        "signature": hexadecimal(signature),
    }


def describe_order(order: OpenOrder, instruments: InstrumentTable) -> dict[str, Any]:
    """An order as Deribit shows one."""
    instrument = instruments.by_number[order.instrument]
    return {
        "order_id": f"{order.account}-{order.slot}",
        "instrument_name": instrument.name,
        "order_type": "limit",
        "order_state": "open",
        "direction": "sell" if order.side else "buy",
        "price": instrument.price(order.price),
        "amount": instrument.amount(order.quantity),
        "filled_amount": instrument.amount(order.quantity - order.remaining),
        "contracts": order.quantity,
        "post_only": bool(order.flags & layout.FLAG_POST_ONLY),
        "reduce_only": bool(order.flags & layout.FLAG_REDUCE_ONLY),
        "time_in_force": "good_til_cancelled",
        "label": order.label,
    }
