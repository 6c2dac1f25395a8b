"""Parameters of every method, as types: the node's API reference in short.

Decimals may be JSON numbers or strings and are read exactly.  Bytes are `0x` hex or base64.
Answers carry decimals as exact JSON numbers and bytes as `0x` hex.  State is public (it is on
L1), so reads name an account and need no login; what changes something is authenticated by the
signature inside the request.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
"""A whole number that every index, table and database column here can be asked for."""


class Nothing(msgspec.Struct):
    """No parameters."""


class Instruments(msgspec.Struct):
    """public/get_instruments."""

    currency: str = "any"
    kind: Literal["any", "future", "option"] = "any"
    expired: bool = False


class InstrumentName(msgspec.Struct):
    """public/ticker, public/get_instrument."""

    instrument_name: str


class OrderBook(msgspec.Struct):
    """public/get_order_book."""

    instrument_name: str
    depth: Natural = 20


class LastTrades(msgspec.Struct):
    """public/get_last_trades_by_instrument: newest first; `end_id` pages back."""

    instrument_name: str
    count: Natural = 10
    end_id: str | None = None


class IndexPrice(msgspec.Struct):
    """public/get_index_price: `btc_usdc` or `BTC`."""

    index_name: str


class AccountParameters(msgspec.Struct):
    """private/get_account_summary, get_positions, get_open_orders."""

    account: Natural
    instrument_name: str | None = None


class AccountHistory(msgspec.Struct):
    """private/get_user_trades, private/get_order_history: newest first."""

    account: Natural
    count: Natural = 100
    end_id: str | None = None


class FindAccount(msgspec.Struct):
    """public/get_account: the account of an owner address."""

    owner: str
    subaccount: Natural = 0


class AccountLanes(msgspec.Struct):
    """public/get_lanes: the lanes registered for an account."""

    account: Natural


class LaneParameters(msgspec.Struct):
    """public/get_lane."""

    lane: Natural


class ReceiptParameters(msgspec.Struct):
    """public/get_receipt."""

    lane: Natural
    sequence: Natural


class Batches(msgspec.Struct):
    """public/get_batches: newest first."""

    count: Natural = 20
    before: Natural | None = None


class WithdrawalProof(msgspec.Struct):
    """public/get_withdrawal_proof: against `count` withdrawals, or those of the newest claim."""

    index: Natural
    count: Natural | None = None


class Channels(msgspec.Struct):
    """public/subscribe, public/unsubscribe and their private twins."""

    channels: list[str]


class SendMessage(msgspec.Struct, forbid_unknown_fields=True):
    """private/send_message: the exact message and the lane key's signature over the new tip."""

    message: str
    signature: str = ""
    receipt: bool = True


class Signed(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every signed call carries: the header of its message, and the signature."""

    lane: Natural
    sequence: Natural
    valid_until: Natural
    signature: str


class PlaceOrder(Signed, forbid_unknown_fields=True, kw_only=True):
    """private/buy, private/sell.

    The node rebuilds the one-record message: `slot` defaults to any free one; a market order is
    immediate-or-cancel at the end of the instrument's ladder.
    """

    instrument_name: str
    amount: Decimal | None = None
    contracts: Natural | None = None
    type: Literal["limit", "market"] = "limit"
    price: Decimal | None = None
    time_in_force: Literal["good_til_cancelled", "immediate_or_cancel", "fill_or_kill"] = (
        "good_til_cancelled"
    )
    post_only: bool = False
    reduce_only: bool = False
    label: Natural = 0
    slot: Natural | None = None


class CancelOrder(Signed, forbid_unknown_fields=True, kw_only=True):
    """private/cancel: `order_id` is `account-slot`."""

    order_id: str
    label: Natural = 0


class CancelAll(Signed, forbid_unknown_fields=True, kw_only=True):
    """private/cancel_all: every order of the lane's account."""

    label: Natural = 0


class Quote(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One leg of private/mass_quote; amount 0 only takes the slot's order away."""

    instrument_name: str
    side: Literal["buy", "sell"]
    price: Decimal
    amount: Decimal
    slot: Natural
    label: Natural = 0


class MassQuote(Signed, forbid_unknown_fields=True, kw_only=True):
    """private/mass_quote: up to 30 legs in one message."""

    quotes: list[Quote]
    label: Natural = 0


class OwnerParameters(msgspec.Struct, forbid_unknown_fields=True):
    """private/owner_operation: an owner message, which carries its own signature."""

    message: str
    receipt: bool = True
