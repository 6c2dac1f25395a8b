"""The address space of the provable machine and the records that live in it.

This one module fixes every address, capacity and record shape.  The native views, the RISC-V
image, the Merkle openings and the constants in the L1 contracts all come from it, so a change
here changes the program id.  All integers are little-endian; every record is aligned and a
power of two (or a whole number of leaves) long, so that no record straddles a leaf needlessly.
"""

from typing import Any, Final

import numpy as np

# --- the machine -----------------------------------------------------------------------------

ADDRESS_BITS: Final = 32
"""Width of a machine address, in bits; a load or store beyond it is a fault."""

LEAF_BYTES: Final = 32
"""Bytes of one Merkle leaf: sixteen 16-bit limbs, one limb per KoalaBear element."""

TREE_DEPTH: Final = ADDRESS_BITS - 5
"""Levels between the memory root and a leaf."""

ENCODING_VERSION: Final = 1
"""Version of every byte format on these pages; part of the program id."""

CODE_BASE: Final = 0x0100_0000
CODE_BYTES: Final = 1 << 20
"""Instructions and constant tables; read-only, executable."""

PARAMS_BASE: Final = 0x0200_0000
PARAMS_BYTES: Final = 1 << 12
"""One page that L1 fixes for each data record; read-only."""

JOURNAL_BASE: Final = 0x0300_0000
JOURNAL_BYTES: Final = 1 << 12
"""What the run tells L1; all zero at the start."""

SCRATCH_BASE: Final = 0x0400_0000
SCRATCH_BYTES: Final = 1 << 26
"""Stack, decoder tables, events: all zero at the start, never committed."""

INPUT_BASE: Final = 0x0800_0000
INPUT_BYTES: Final = 1 << 21
"""The data record (first half) and the inbox items it may consume (second half); read-only."""

BATCH_DATA_BASE: Final = INPUT_BASE
BATCH_DATA_BYTES: Final = 1 << 20
"""Published bytes of the batch; six blobs of 31 bytes per element are 761,856."""

INBOX_ITEMS_BASE: Final = INPUT_BASE + BATCH_DATA_BYTES
INBOX_ITEMS_BYTES: Final = 1 << 20
"""Inbox items from the parent's position on, 128 bytes each, at most 8,192 per data record."""

SCRATCH_STACK_TOP: Final = SCRATCH_BASE + (1 << 20)
"""The machine's stack grows down from here; the native run uses the host's own stack."""

SCRATCH_HASH_BASE: Final = SCRATCH_STACK_TOP
SCRATCH_HASH_BYTES: Final = 1 << 12
"""Two 2-KiB buffers for the operands of keccak256 and ecrecover."""

SCRATCH_EVENT_COUNT: Final = SCRATCH_HASH_BASE + SCRATCH_HASH_BYTES
"""u8: events written since the ring was reset; the ring follows at SCRATCH_EVENTS."""

SCRATCH_RUN_BASE: Final = SCRATCH_EVENT_COUNT
"""The RUN record: what a block in progress remembers; its first field is the event count."""

SCRATCH_QUOTE_BASE: Final = SCRATCH_BASE + (1 << 21)
"""Two u8 per leg of the mass quote being applied (operations/mass_quote.py)."""

SCRATCH_EVENTS: Final = SCRATCH_BASE + (1 << 22)
SCRATCH_BLOCK_BASE: Final = SCRATCH_BASE + (1 << 23)
"""The plain block being applied (MAX_BLOCK_BYTES)."""

SCRATCH_LANES_BASE: Final = SCRATCH_BASE + (3 << 22)
"""Lanes touched by the batch, in order, with the key each had then (kernel/lanes.py)."""

SCRATCH_LANE_MARKS_BASE: Final = SCRATCH_BASE + (7 << 22)
"""u4 per lane: 1 + its latest entry in the list of touched lanes, 0 if none."""

SCRATCH_DECODER_BASE: Final = SCRATCH_BASE + (1 << 25)
SCRATCH_DECODER_BYTES: Final = 1 << 25
"""Tables and column cursors of kernel/batch_codec.py."""

STATE_BASE: Final = 0x8000_0000
STATE_BYTES: Final = 1 << 31
"""The exchange: its two halves are the durable and the volatile subtree."""

DURABLE_BASE: Final = STATE_BASE
DURABLE_BYTES: Final = 1 << 30
VOLATILE_BASE: Final = STATE_BASE + DURABLE_BYTES
VOLATILE_BYTES: Final = 1 << 30

REGIONS: Final = {
    # Each name maps to its base, its size in bytes and its access.
    "CODE": (CODE_BASE, CODE_BYTES, "rx"),
    "PARAMS": (PARAMS_BASE, PARAMS_BYTES, "r"),
    "JOURNAL": (JOURNAL_BASE, JOURNAL_BYTES, "rw"),
    "SCRATCH": (SCRATCH_BASE, SCRATCH_BYTES, "rw"),
    "INPUT": (INPUT_BASE, INPUT_BYTES, "r"),
    "STATE": (STATE_BASE, STATE_BYTES, "rw"),
}
"""Every mapped address; anything else is a fault."""

SYSTEM_CALLS: Final = {"halt": 0, "keccak256": 1, "ecrecover": 2}
"""Numbers passed in a7 to `ecall`; each has an L1 twin."""

# --- capacities ------------------------------------------------------------------------------

ACCOUNTS: Final = 1 << 14
"""Accounts; account 0 is the house (fees, which the operator may withdraw), 1 the operator, 2 the
price publisher."""

SLOTS: Final = 1 << 9
"""Order slots per account: order id = account * SLOTS + slot."""

ORDERS: Final = ACCOUNTS * SLOTS

POSITIONS: Final = 32
"""Positions (holdings or open orders in distinct instruments) per account."""

INSTRUMENTS: Final = 1 << 8
UNDERLYINGS: Final = 1 << 4
LANES: Final = 1 << 15
"""Registered session keys over all accounts; lane 0 is never used."""

TICKS: Final = 1 << 18
"""Price levels of one book, counted from the instrument's base tick."""

OWNER_BUCKETS: Final = 1 << 15
"""Open-addressed index from (owner, subaccount) to account; twice the accounts."""

WITHDRAWAL_DEPTH: Final = 32
"""Depth of the append-only keccak tree of withdrawals."""

INBOX_ITEM_BYTES: Final = 128
MAX_INBOX_ITEMS_PER_BATCH: Final = INBOX_ITEMS_BYTES // INBOX_ITEM_BYTES
MAX_RECORDS_PER_MESSAGE: Final = 31
"""tip (32) + header (32) + records (32 each) stay within one keccak256 call of 1,087 bytes."""

MAX_MESSAGES_PER_BLOCK: Final = 1 << 13
MAX_BLOCK_BYTES: Final = 1 << 22
"""Plain (uncompressed) bytes of one block: its header and its messages."""

MAX_OPERATIONS_PER_BATCH: Final = 1 << 18
"""Hard cap on decompressed records, so that any input has a bounded run."""

MAX_BLOCKS_PER_BATCH: Final = 1 << 12
MAX_EVENTS: Final = 1 << 17
"""Events kept since the last reset of the event ring, 32 bytes each."""

# --- account numbers and flags ---------------------------------------------------------------

HOUSE_ACCOUNT: Final = 0
OPERATOR_ACCOUNT: Final = 1
PUBLISHER_ACCOUNT: Final = 2

ACCOUNT_OPERATOR: Final = 1
"""Account flag: its owner may list instruments."""
ACCOUNT_PUBLISHER: Final = 2
"""Account flag: its lanes may carry oracle prices."""

PERMISSION_TRADE: Final = 1
PERMISSION_ORACLE: Final = 2
PERMISSION_TRANSFER: Final = 4
"""What a lane's key may do; `permissions` is their sum."""

# --- enumerations ----------------------------------------------------------------------------

PERPETUAL: Final = 1
CALL: Final = 2
PUT: Final = 3
"""Instrument kinds; 0 is an unused record."""

TRADING: Final = 1
SETTLING: Final = 2
SETTLED: Final = 3
"""Instrument status."""

BUY: Final = 0
SELL: Final = 1

GOOD_TIL_CANCELLED: Final = 0
IMMEDIATE_OR_CANCEL: Final = 1
FILL_OR_KILL: Final = 2
"""Time in force, the two low bits above the side in an operation's flags."""

FLAG_SELL: Final = 1
FLAG_TIME_IN_FORCE_SHIFT: Final = 1
FLAG_TIME_IN_FORCE_MASK: Final = 6
FLAG_POST_ONLY: Final = 8
FLAG_REDUCE_ONLY: Final = 16
"""Bits of `operation.flags`; every other bit must be zero."""

ANY_SLOT: Final = 0xFFFF
"""Slot value that asks the kernel for the account's lowest free slot."""

# Operation kinds, carried in lane messages (32-byte records).
PLACE: Final = 1
CANCEL: Final = 2
CANCEL_ALL: Final = 3
MASS_QUOTE: Final = 4
QUOTE_LEG: Final = 5
ORACLE_INDEX: Final = 6
ORACLE_MARK: Final = 7
TRANSFER: Final = 8
EXPIRE: Final = 9

# Owner operation kinds, each alone in an owner message (192-byte record).
WITHDRAW: Final = 32
REGISTER_LANE: Final = 33
REVOKE_LANE: Final = 34
OWNER_TRANSFER: Final = 35
LIST_INSTRUMENT: Final = 36

# Inbox item kinds.
INBOX_DEPOSIT: Final = 64
INBOX_WITHDRAW: Final = 65
INBOX_CANCEL_ALL: Final = 66
INBOX_REVOKE_LANE: Final = 67

LANE_MESSAGE: Final = 0
OWNER_MESSAGE: Final = 1

RATE_ONE: Final = 1_000_000
"""A rate of 1, in parts per million."""

# Event kinds (records of the ring in SCRATCH; `EVENT` says what each field means).
EVENT_OUTCOME: Final = 1
"""Every operation once: side = its kind, price = lane (or 0), quantity = low sequence bits."""
EVENT_ORDER_RESTED: Final = 2
EVENT_FILL_TAKER: Final = 3
EVENT_FILL_MAKER: Final = 4
EVENT_ORDER_REMOVED: Final = 5
"""Cancelled, prevented self-trade, or reduce-only cut; not an order that was filled."""
EVENT_DEPOSIT: Final = 6
"""label = inbox position, price and quantity = high and low half of the amount; status is
AMOUNT_OUT_OF_RANGE and the like when it bounced."""
EVENT_WITHDRAWAL: Final = 7
"""label = index of the withdrawal, price and quantity = high and low half of the amount."""
EVENT_LANE_REGISTERED: Final = 8
EVENT_LANE_REVOKED: Final = 9
"""label = lane number."""
EVENT_PRICE: Final = 10
EVENT_LISTED: Final = 11
EVENT_SETTLED: Final = 12
EVENT_QUOTE_LEG: Final = 13
"""A leg of a mass quote that did not rest; status says why."""

EMPTY_BOOK_SIDE: Final = TICKS
"""`best` of a side without orders (both sides count ladder indices from the best end)."""


def _record(fields: list[tuple[Any, ...]], size: int) -> np.dtype:
    """Aligned record of exactly `size` bytes; the unnamed tail is zero, room for later fields."""
    packed: Any = np.dtype(fields, align=True)
    if packed.itemsize > size or size % 8:
        raise TypeError(f"record of {packed.itemsize} bytes does not fit {size}")
    members = [packed.fields[name] for name in packed.names]
    shape: Any = {
        "names": list(packed.names),
        "formats": [member[0] for member in members],
        "offsets": [member[1] for member in members],
        "itemsize": size,
    }
    return np.dtype(shape, align=True)


# --- durable records -------------------------------------------------------------------------

HEADER = _record(
    [
        ("domain", "u8", (4,)),  # EIP-712 domain separator, 32 raw bytes
        ("chain_id", "u8"),
        ("rollup", "u4", (5,)),  # L1 contract, 20 raw bytes
        ("encoding_version", "u4"),
        ("next_block", "u8"),
        ("last_time_ms", "u8"),
        ("last_header_hash", "u8", (4,)),
        ("inbox_position", "u8"),
        ("inbox_hash", "u8", (4,)),
        ("next_registration", "u8"),
        ("account_count", "u4"),  # records ever opened; indices below it are in use
        ("instrument_count", "u4"),
        ("underlying_count", "u4"),
        ("lane_count", "u4"),
        ("free_lane", "u4"),  # head of the list of revoked lane records, 0 if none
        ("open_position_count", "u4"),
        ("minimum_deposit", "i8"),
        ("deposited", "i8"),  # collateral ever credited
        ("withdrawn", "i8"),  # collateral ever debited to withdrawals
        ("bounced", "i8"),  # deposits that could not be credited and became withdrawals
        ("operation_count", "u8"),
        ("rejection_count", "u8"),
        ("fill_count", "u8"),
        ("outcome_digest", "u8"),  # folds every status and fill; live and replay must agree
        ("token", "u4", (5,)),  # the collateral ERC-20, 20 raw bytes
        ("rejections_per_second", "u4"),  # per lane
        ("withdrawal_count", "u8"),
        ("withdrawal_root", "u8", (4,)),
        ("withdrawal_frontier", "u8", (WITHDRAWAL_DEPTH, 4)),
    ],
    4096,
)

ACCOUNT = _record(
    [
        ("cash", "i8"),  # micro-collateral; trades move price * lots through it
        ("owner", "u4", (5,)),  # L1 address, 20 raw bytes
        ("subaccount", "u2"),
        ("flags", "u2"),
        ("owner_nonce", "u8"),
        ("position_count", "u2"),
        ("lane_count", "u2"),
        ("order_count", "u4"),
    ],
    64,
)

POSITION = _record(
    [
        ("quantity", "i4"),  # lots, positive is long
        ("open_buy", "u4"),  # lots in resting bids
        ("open_sell", "u4"),  # lots in resting asks
        ("instrument", "u2"),
        ("order_count", "u2"),
        ("open_reserve", "i8"),  # micro-collateral that resting orders would lose when filled
        ("funding_index", "i8"),
    ],
    32,
)

LANE = _record(
    [
        ("tip", "u8", (4,)),
        ("key", "u4", (5,)),  # address of the session key, 20 raw bytes
        ("account", "u4"),
        ("registration", "u8"),  # never repeats over the life of the rollup; 0 = unused record
        ("sequence", "u8"),  # messages accepted
        ("expires_ms", "u8"),
        ("permissions", "u4"),
        ("next_free", "u4"),
        ("rejection_second", "u8"),
        ("rejection_count", "u4"),
        ("batch_mark", "u4"),  # reserved; batches keep touched lanes in SCRATCH
    ],
    128,
)

INSTRUMENT = _record(
    [
        ("kind", "u1"),
        ("status", "u1"),
        ("underlying", "u2"),
        ("minimum_lots", "u4"),
        ("maximum_lots", "u4"),  # per order
        ("position_limit", "u4"),  # lots, |quantity| + open
        ("tick_size", "i8"),  # micro-collateral per unit of underlying
        ("contract_size", "i8"),  # millionths of the underlying per lot
        ("tick_value", "i8"),  # micro-collateral per tick and lot, exact
        ("base_tick", "i8"),  # ladder index 0 is this price in ticks
        ("strike", "i8"),  # micro-collateral per unit; 0 for a perpetual
        ("expiry_ms", "u8"),  # 0 for a perpetual
        ("initial_rate", "u4"),  # ppm; for options: of the index, before out-of-the-money relief
        ("initial_floor_rate", "u4"),  # ppm; options only
        ("maintenance_rate", "u4"),  # ppm
        ("taker_fee_rate", "u4"),  # ppm of notional (options: of index notional)
        ("maker_fee_rate", "i4"),  # ppm, may be negative (a rebate)
        ("fee_cap_rate", "u4"),  # ppm of premium, options only
        ("delivery_value", "i8"),  # micro-collateral per lot at expiry
        ("settle_cursor", "u4"),
        ("open_interest", "u4"),  # lots held long
        ("index_value", "i8"),  # micro-collateral per lot at the index, what option fees are on
        ("margin_class", "u4"),  # row of the table in instruments.py the rates came from
        ("next_instrument", "u4"),  # 1 + next of the same underlying that trades, 0 ends the list
        ("level_count", "u4"),  # ladder levels in use; fewer than TICKS when lots are dear
    ],
    256,
)

RISK = _record(
    [
        ("mark", "i8"),  # micro-collateral per unit of underlying
        ("mark_time_ms", "u8"),
        ("mark_value", "i8"),  # micro-collateral a lot adds to equity; 0 for an option
        ("index_epoch", "u8"),  # underlying epoch the four requirements below were computed at
        ("initial_long", "i8"),  # micro-collateral per lot
        ("initial_short", "i8"),
        ("maintenance_long", "i8"),
        ("maintenance_short", "i8"),
    ],
    64,
)

UNDERLYING = _record(
    [
        ("symbol", "u8"),  # ASCII, zero padded
        ("index", "i8"),  # micro-collateral per unit; 0 until the first price
        ("index_time_ms", "u8"),
        ("epoch", "u8"),  # counts index updates
        ("maximum_age_ms", "u8"),
        ("maximum_index", "i8"),  # the highest index that every listed lot can carry
        ("first_instrument", "u4"),  # 1 + first of those that trade, 0 if none
    ],
    64,
)

DURABLE = np.dtype(
    {
        "names": [
            "header", "underlying", "instrument", "risk", "account", "lane",
            "owner_bucket", "position_slot", "position",
        ],
        "formats": [
            HEADER, (UNDERLYING, (UNDERLYINGS,)), (INSTRUMENT, (INSTRUMENTS,)),
            (RISK, (INSTRUMENTS,)), (ACCOUNT, (ACCOUNTS,)), (LANE, (LANES,)),
            ("u4", (OWNER_BUCKETS,)), ("u1", (ACCOUNTS, INSTRUMENTS)),
            (POSITION, (ACCOUNTS, POSITIONS)),
        ],
        "offsets": [
            0, 0x0000_2000, 0x0002_0000, 0x0004_0000, 0x0010_0000, 0x0040_0000,
            0x0080_0000, 0x00C0_0000, 0x0200_0000,
        ],
        "itemsize": DURABLE_BYTES,
    },
    align=True,
)  # fmt: skip
"""`position_slot[a, i]` is 1 + the index of account a's position in instrument i, 0 if none."""

# --- volatile records ------------------------------------------------------------------------

BOOK_SIDE = _record(
    [
        ("best", "u4"),  # lowest occupied ladder index, mirrored for bids; EMPTY_BOOK_SIDE if none
        ("order_count", "u4"),
        ("summary", "u8"),  # bit w: middle[w] is not zero
    ],
    32,
)

LEVEL = _record([("head", "u4"), ("tail", "u4")], 8)

ORDER = _record(
    [
        ("previous", "u4"),
        ("next", "u4"),  # order ids in the level's queue, 0 ends it (order 0 is never used)
        ("remaining", "u4"),  # lots; 0 = free slot
        ("tick", "u4"),  # ladder index, not mirrored
        ("instrument", "u2"),
        ("side", "u1"),
        ("flags", "u1"),
        ("quantity", "u4"),  # lots when placed
        ("label", "u4"),  # the trader's own number, echoed in events
        ("reserve", "u4"),  # ticks per lot this order holds in its position's open_reserve
    ],
    32,
)

VOLATILE = np.dtype(
    {
        "names": ["side", "middle", "bitmap", "slot_used", "order", "level"],
        "formats": [
            (BOOK_SIDE, (INSTRUMENTS, 2)),
            ("u8", (INSTRUMENTS, 2, TICKS >> 12)),
            ("u8", (INSTRUMENTS, 2, TICKS >> 6)),
            ("u8", (ACCOUNTS, SLOTS >> 6)),
            (ORDER, (ORDERS,)),
            (LEVEL, (INSTRUMENTS, TICKS)),
        ],
        "offsets": [0, 0x0004_0000, 0x0100_0000, 0x0200_0000, 0x1000_0000, 0x2000_0000],
        "itemsize": VOLATILE_BYTES,
    },
    align=True,
)  # fmt: skip
"""A level's queue belongs to whichever side is there: a book is never crossed."""

# --- messages --------------------------------------------------------------------------------

MESSAGE_HEADER = _record(
    [
        ("target", "u4"),  # lane number, or account number of an owner message
        ("record_count", "u2"),  # 32-byte records that follow
        ("kind", "u1"),  # LANE_MESSAGE or OWNER_MESSAGE
        ("version", "u1"),  # ENCODING_VERSION
        ("valid_until_ms", "u8"),  # kernel time
        ("sequence", "u8"),  # the lane's (or the owner's) last + 1
    ],
    32,
)

OPERATION = _record(
    [
        ("kind", "u1"),
        ("flags", "u1"),
        ("instrument", "u2"),  # also the underlying's number in ORACLE_INDEX
        ("slot", "u2"),
        ("count", "u2"),  # legs that follow, MASS_QUOTE only
        ("price", "u4"),  # ticks, absolute
        ("quantity", "u4"),  # lots
        ("value", "i8"),  # amount, or oracle price in micro-collateral per unit
        ("account", "u4"),  # receiver of a TRANSFER
        ("label", "u4"),
    ],
    32,
)

OWNER_OPERATION = _record(
    [
        ("kind", "u1"),
        ("flags", "u1"),
        ("instrument_kind", "u1"),
        ("zero", "u1"),
        ("lane", "u4"),
        ("amount", "i8"),
        ("address", "u4", (5,)),  # recipient of WITHDRAW, key of REGISTER_LANE
        ("permissions", "u4"),
        ("expires_ms", "u8"),  # of a lane, or of a listed option
        ("account", "u4"),  # receiver of OWNER_TRANSFER
        ("underlying", "u4"),
        ("tick_size", "i8"),
        ("contract_size", "i8"),
        ("base_tick", "i8"),
        ("strike", "i8"),
        ("symbol", "u8"),  # LIST_INSTRUMENT on a new underlying
        ("margin_class", "u4"),  # row of the margin table in instruments.py
        ("minimum_lots", "u4"),
        ("maximum_lots", "u4"),
        ("maximum_age_ms", "u4"),
        ("signature_r", "u8", (4,)),  # EIP-2098 compact, 64 raw bytes
        ("signature_s", "u8", (4,)),  # top bit carries v - 27
    ],
    192,
)

BLOCK_HEADER = _record(
    [
        ("number", "u8"),
        ("time_ms", "u8"),
        ("inbox_count", "u4"),
        ("message_count", "u4"),
        ("byte_count", "u4"),  # of the messages that follow
        ("zero", "u4"),
    ],
    64,
)
"""A plain block is this header, then its messages: MESSAGE_HEADER and records, 32-byte units."""

INBOX_ITEM = _record(
    [
        ("kind", "u1"),
        ("zero", "u1", (3,)),
        ("sender", "u4", (5,)),  # msg.sender on L1, 20 raw bytes
        ("recipient", "u4", (5,)),  # owner credited by a deposit, recipient of a withdrawal
        ("subaccount", "u4"),
        ("amount", "u8"),  # micro-collateral
        ("lane", "u4"),
        ("zero_2", "u4"),
        ("l1_block", "u8"),
        ("l1_time", "u8"),  # seconds
        ("position", "u8"),  # index of this item in the inbox
    ],
    128,
)

# --- the page that L1 fixes and the page that the run writes ---------------------------------

PARAMS = _record(
    [
        ("domain", "u8", (4,)),
        ("data_bytes", "u8"),  # length of the batch data at BATCH_DATA_BASE
        ("data_kind", "u8"),  # 0: operations
        ("record_index", "u8"),
        ("l1_time", "u8"),  # seconds, of the block that carried the data record
        ("inbox_first", "u8"),  # position of the item at INBOX_ITEMS_BASE
        ("inbox_count", "u8"),  # items available from there
        ("blob_count", "u8"),
        ("reserved", "u8", (5,)),
        ("challenge", "u8", (6, 4)),  # z_j, validity model only
    ],
    4096,
)

JOURNAL = _record(
    [
        ("encoding_version", "u8"),
        ("data_kind", "u8"),
        ("withdrawals_root", "u8", (4,)),
        ("withdrawals_count", "u8"),
        ("inbox_position", "u8"),
        ("inbox_hash", "u8", (4,)),
        ("first_time_ms", "u8"),
        ("last_time_ms", "u8"),
        ("first_block", "u8"),
        ("next_block", "u8"),
        ("last_header_hash", "u8", (4,)),
        ("headers_root", "u8", (4,)),  # keccak chain over this batch's block header hashes
        ("operation_count", "u8"),
        ("reserved", "u8", (7,)),
        ("evaluation", "u8", (6, 4)),  # y_j, validity model only
    ],
    512,
)
"""The journal hash is keccak256 of these 512 bytes; the rest of the region stays zero."""

EVENT = _record(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("instrument", "u2"),
        ("status", "i4"),  # rejection number, 0 = applied
        ("account", "u4"),
        ("slot", "u4"),  # the order's slot within its account
        ("price", "u4"),  # ticks, absolute
        ("quantity", "u4"),  # lots
        ("label", "u4"),
        ("index", "u4"),  # record within the block that caused it
    ],
    32,
)
"""Written to a ring in SCRATCH, read by the node, never committed."""

RUN = _record(
    [
        ("event_count", "u8"),
        ("record_index", "u8"),  # record of the block being applied, for events
        ("batch", "u8"),  # 1 inside apply_batch: signatures are checked, lanes are noted
        ("block_open", "u8"),  # 1 between open_block and close_block
        ("message_count", "u8"),  # of the open block
        ("byte_count", "u8"),
        ("first_withdrawal", "u8"),  # header.withdrawal_count when the block opened
        ("touched_count", "u8"),  # entries of the list of touched lanes
        ("messages_digest", "u8", (4,)),
        ("headers_root", "u8", (4,)),
    ],
    128,
)
"""Kept in SCRATCH: lost at the end of a batch, never committed."""

TOUCHED_LANE = _record(
    [
        ("lane", "u4"),
        ("key", "u4", (5,)),  # as it stood at the lane's first message in the batch
        ("registration", "u8"),
        ("tip", "u8", (4,)),  # final, once the lane's registration ended or the batch did
    ],
    64,
)
"""One entry per (lane, registration) that spoke in the batch, in order of its first message."""
