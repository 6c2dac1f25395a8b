"""Every outcome the kernel can give, as stable numbers.

Three families, never mixed.  A `Rejection` is an operation's result: the message that carried it
stands, its lane advances, nothing else changed.  A `Refusal` says why a message is not accepted:
the sequencer must not include it, and a batch that does is invalid.  An `Invalid` is the exit
code of `apply_batch`: the data record changes nothing.  Numbers are never reused.
"""

from enum import IntEnum


class Rejection(IntEnum):
    """Result of one operation; 0 is success."""

    APPLIED = 0
    UNKNOWN_OPERATION = 1
    """The operation kind does not exist or may not travel this way."""
    MALFORMED = 2
    """A field that must be zero is not, or a flag combination has no meaning."""
    NOT_PERMITTED = 3
    """The lane's key lacks the permission this operation needs."""
    UNKNOWN_INSTRUMENT = 4
    INSTRUMENT_NOT_TRADING = 5
    INSTRUMENT_NOT_EXPIRED = 6
    UNKNOWN_UNDERLYING = 7
    PRICE_OUT_OF_RANGE = 8
    """Outside the instrument's ladder."""
    QUANTITY_OUT_OF_RANGE = 9
    SLOT_OUT_OF_RANGE = 10
    SLOT_IN_USE = 11
    SLOT_EMPTY = 12
    """No live order in that slot."""
    SLOTS_FULL = 13
    POSITIONS_FULL = 14
    POSITION_LIMIT = 15
    POST_ONLY_WOULD_CROSS = 16
    FILL_OR_KILL_UNFILLED = 17
    REDUCE_ONLY_INCREASES = 18
    """A reduce-only order on the wrong side of the position, or with none."""
    INSUFFICIENT_MARGIN = 19
    INSUFFICIENT_CASH = 20
    ORACLE_STALE = 21
    """No price, or the last one is older than the underlying allows: cancel only."""
    ORACLE_PRICE_OUT_OF_RANGE = 22
    NOT_A_PUBLISHER = 23
    NOT_THE_OPERATOR = 24
    UNKNOWN_ACCOUNT = 25
    AMOUNT_OUT_OF_RANGE = 26
    INSTRUMENTS_FULL = 27
    UNDERLYINGS_FULL = 28
    LANES_FULL = 29
    UNKNOWN_LANE = 30
    LANE_NOT_OWNED = 31
    LISTING_INVALID = 32
    SELF_TRANSFER = 33
    OWNER_IS_OTHER = 34
    """A lane transfer may only go to an account with the same owner."""
    TOO_MANY_LEGS = 35
    SELF_TRADE = 36
    """Why a resting order was removed: its own account's order met it."""
    MATCH_LIMIT = 37
    """Why an order's remainder was removed: it met more resting orders than one operation may."""
    INSTRUMENT_EXPIRED = 38
    """Why a resting order was removed: its instrument expired."""
    CANCELLED = 39
    """Why a resting order was removed: its account asked for it."""
    NOT_RESTING = 40
    """Why an order's remainder was removed: it was immediate-or-cancel."""


class Refusal(IntEnum):
    """Why a message is not accepted; 0 is accepted."""

    ACCEPTED = 0
    BAD_VERSION = 101
    BAD_FRAMING = 102
    """Record count or record framing is wrong, or a reserved byte is not zero."""
    UNKNOWN_LANE = 103
    KEY_EXPIRED = 104
    WRONG_SEQUENCE = 105
    """Not the lane's (or owner's) last sequence number plus one."""
    EXPIRED = 106
    """valid_until is before the block's time."""
    VALID_UNTIL_TOO_FAR = 107
    """valid_until is more than a year ahead of the block's time."""
    REJECTION_LIMIT = 108
    """The lane was rejected too often in this second."""
    UNKNOWN_ACCOUNT = 109
    BAD_SIGNATURE = 110
    """Found by the gateway; in a batch it is Invalid.SIGNATURE."""
    BLOCK_FULL = 111
    NO_OPEN_BLOCK = 112
    """apply_message was called between blocks."""


class Invalid(IntEnum):
    """Exit code of apply_batch; 0 is a valid batch."""

    VALID = 0
    BAD_PARAMS = 201
    BAD_ENCODING = 202
    TOO_LARGE = 203
    BLOCK_NUMBER = 204
    BLOCK_TIME = 205
    INBOX = 206
    MESSAGE = 207
    """A message that check_message refuses."""
    SIGNATURE = 208
    TRAILING_DATA = 209
    EMPTY = 210


class Fault(IntEnum):
    """Why the machine stopped other than by `halt`."""

    NONE = 0
    UNKNOWN_INSTRUCTION = 1
    MISALIGNED = 2
    UNMAPPED = 3
    READ_ONLY = 4
    BAD_JUMP = 5
    BAD_SYSTEM_CALL = 6
    STEP_LIMIT = 7
