"""Signed methods: each becomes one message for admission and is answered with its outcome."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from entresol.kernel import layout
from entresol.node.api import messages, parameters
from entresol.node.api.errors import (
    ORDER_NOT_FOUND,
    ApiError,
    error_of_refusal,
    error_of_rejection,
    invalid_params,
)
from entresol.node.api.reads import describe_order, describe_receipt
from entresol.node.api.rpc import Answer, Method
from entresol.node.market.accounts import AccountReader
from entresol.node.market.instruments import InstrumentTable
from entresol.node.market.units import hexadecimal
from entresol.rollup.message import Operation
from entresol.sequencing.admission import Admission
from entresol.sequencing.outcomes import Accepted, Refused, Result
from entresol.sequencing.receipts import Receipt

SignReceipt = Callable[[Receipt], bytes]


class Writes:
    """The signed methods of the API; `caller.session` is the connection's admission session."""

    def __init__(
        self,
        admission: Admission,
        instruments: InstrumentTable,
        accounts: AccountReader,
        sign_receipt: SignReceipt,
    ) -> None:
        self._admission = admission
        self._instruments = instruments
        self._accounts = accounts
        self._sign_receipt = sign_receipt

    def methods(self) -> list[Method]:
        """Every signed method of the API."""
        p = parameters
        return [
            Method("private/send_message", p.SendMessage, call=self._send_message),
            Method("private/owner_operation", p.OwnerParameters, call=self._owner_operation),
            Method("private/buy", p.PlaceOrder, call=self._buy),
            Method("private/sell", p.PlaceOrder, call=self._sell),
            Method("private/cancel", p.CancelOrder, call=self._cancel),
            Method("private/cancel_all", p.CancelAll, call=self._cancel_all),
            Method("private/mass_quote", p.MassQuote, call=self._mass_quote),
        ]

    def _send_message(self, caller: Any, params: parameters.SendMessage, answer: Answer) -> None:
        message = messages.decode_bytes(params.message, "message")
        signature = messages.decode_bytes(params.signature, "signature")
        self._submit(caller, message, signature, answer, self._describe_if(params.receipt))

    def _owner_operation(
        self, caller: Any, params: parameters.OwnerParameters, answer: Answer
    ) -> None:
        message = messages.decode_bytes(params.message, "message")
        if len(message) < 8 or message[6] != layout.OWNER_MESSAGE:
            raise invalid_params("This is no owner message; send lane messages by send_message.")
        self._submit(caller, message, b"", answer, self._describe_if(params.receipt))

    def _submit(
        self,
        caller: Any,
        message: bytes,
        signature: bytes,
        answer: Answer,
        describe: Callable[[Accepted], Any],
    ) -> None:
        def finish(result: Result) -> None:
            if isinstance(result, Refused):
                answer(error_of_refusal(result))
            else:
                answer(describe(result))

        self._admission.submit(caller.session, message, signature, finish)

    def _describe_if(self, with_receipt: bool) -> Callable[[Accepted], dict[str, Any]]:
        return self._describe if with_receipt else _describe_outcome

    def _describe(self, accepted: Accepted) -> dict[str, Any]:
        """An accepted message's outcomes and the sequencer's receipt."""
        receipt = accepted.receipt
        described = _describe_outcome(accepted)
        described["receipt"] = describe_receipt(receipt, self._sign_receipt(receipt))
        return described

    def _submit_one(
        self,
        caller: Any,
        params: parameters.Signed,
        operations: list[Operation],
        answer: Answer,
        describe: Callable[[Accepted], Any],
    ) -> None:
        """Submit a message whose first operation's rejection is the call's error."""
        message = messages.encode_lane_message(params, operations)
        signature = messages.decode_bytes(params.signature, "signature")

        def judge(accepted: Accepted) -> Any:
            status = accepted.statuses[0]
            if status:
                return error_of_rejection(status, entresol=self._describe(accepted))
            return {**describe(accepted), "entresol": self._describe(accepted)}

        self._submit(caller, message, signature, answer, judge)

    def _buy(self, caller: Any, params: parameters.PlaceOrder, answer: Answer) -> None:
        self._place(caller, params, layout.BUY, answer)

    def _sell(self, caller: Any, params: parameters.PlaceOrder, answer: Answer) -> None:
        self._place(caller, params, layout.SELL, answer)

    def _place(self, caller: Any, params: parameters.PlaceOrder, side: int, answer: Answer) -> None:
        operation = messages.place_order(params, side, self._instruments)
        self._submit_one(
            caller,
            params,
            [operation],
            answer,
            lambda accepted: self._describe_placed(params, operation, side, accepted),
        )

    def _describe_placed(
        self, params: parameters.PlaceOrder, operation: Operation, side: int, accepted: Accepted
    ) -> dict[str, Any]:
        """The order and its trades, as Deribit answers a placement."""
        instrument = self._instruments.by_number[operation.instrument]
        events = accepted.events
        takes = events[events["kind"] == layout.EVENT_FILL_TAKER].tolist()
        rested = bool((events["kind"] == layout.EVENT_ORDER_RESTED).any())
        outcome = events[events["kind"] == layout.EVENT_OUTCOME]
        account = int(outcome["account"][0]) if len(outcome) else 0
        filled = accepted.filled[0]
        cost = sum(take[6] * take[7] for take in takes)
        state = "open" if rested else "filled" if filled == operation.quantity else "cancelled"
        average = instrument.price(cost) / filled if filled else Decimal(0)
        return {
            "order": {
                "order_id": f"{account}-{accepted.slots[0]}",
                "instrument_name": instrument.name,
                "order_type": params.type,
                "order_state": state,
                "direction": "sell" if side else "buy",
                "price": instrument.price(operation.price),
                "amount": instrument.amount(operation.quantity),
                "filled_amount": instrument.amount(filled),
                "average_price": round(average, 6),
                "contracts": operation.quantity,
                "time_in_force": params.time_in_force,
                "post_only": params.post_only,
                "reduce_only": params.reduce_only,
                "label": params.label,
            },
            "trades": [
                {
                    "instrument_name": instrument.name,
                    "direction": "sell" if side else "buy",
                    "price": instrument.price(take[6]),
                    "amount": instrument.amount(take[7]),
                    "liquidity": "T",
                    "label": params.label,
                }
                for take in takes
            ],
        }

    def _cancel(self, caller: Any, params: parameters.CancelOrder, answer: Answer) -> None:
        account, slot = messages.read_order_id(params.order_id)
        operation = messages.cancel_order(params)
        if not self._accounts.is_lane_of(params.lane, account):
            raise ApiError(
                ORDER_NOT_FOUND, "This order is not of the lane's account.", reason="ORDER_ID"
            )
        before = self._accounts.order(account, slot) if slot < layout.SLOTS else None
        described = describe_order(before, self._instruments) if before else {}
        cancelled = {**described, "order_id": params.order_id, "order_state": "cancelled"}
        self._submit_one(caller, params, [operation], answer, lambda _: cancelled)

    def _cancel_all(self, caller: Any, params: parameters.CancelAll, answer: Answer) -> None:
        def count(accepted: Accepted) -> dict[str, Any]:
            removed = accepted.events["kind"] == layout.EVENT_ORDER_REMOVED
            return {"cancelled": int(removed.sum())}

        self._submit_one(caller, params, [messages.cancel_all(params)], answer, count)

    def _mass_quote(self, caller: Any, params: parameters.MassQuote, answer: Answer) -> None:
        operations = messages.mass_quote(params, self._instruments)

        def describe(accepted: Accepted) -> dict[str, Any]:
            return {
                "quotes": [
                    {"slot": slot, "status": status}
                    for slot, status in zip(accepted.slots[1:], accepted.statuses[1:], strict=True)
                ]
            }

        self._submit_one(caller, params, operations, answer, describe)


def _describe_outcome(accepted: Accepted) -> dict[str, Any]:
    receipt = accepted.receipt
    return {
        "block": receipt.block,
        "index": receipt.index,
        "lane": receipt.lane,
        "sequence": receipt.sequence,
        "tip": hexadecimal(receipt.tip),
        "statuses": accepted.statuses,
        "slots": accepted.slots,
        "filled": accepted.filled,
    }
