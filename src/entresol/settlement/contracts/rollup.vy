# pragma version 0.4.3
# pragma evm-version prague
"""
@title Rollup
@license Apache-2.0
@notice Data records (posted batches), claims about what they did to the state, and finality.
        Every data record has exactly one valid claim: a run that ends with a non-zero exit code
        changes nothing, and this contract holds claims to that, so that bad data can neither stop
        the chain nor be skipped.
@dev    No owner, no upgrade, no pause.  The program id is immutable, hence fixed per data record;
        a later contract that can change it must store it with each record.  `claim id` is the
        statement of `rollup/claim.py`; `claim key` = keccak256(parent's key || claim id) says in
        addition on which earlier claims it stands.  DISPUTE is the door for the dispute game.
"""

interface Inbox:
    def count() -> uint256: view
    def chain_hash_at(position: uint256) -> bytes32: view
    def time_of(position: uint256) -> uint256: view

struct DataRecord:
    index: uint256
    source: uint256  # BLOBS or CALLDATA
    data_kind: uint256  # 0: operations
    data_bytes: uint256
    blob_hashes: bytes32[6]  # versioned hashes, zero from the first unused one on
    chunk_root: bytes32  # of calldata, zero for blobs
    l1_block: uint256
    l1_time: uint256  # seconds
    inbox_position: uint256  # items available to this record
    inbox_hash: bytes32
    poster: address

struct Outcome:
    next_record: uint256  # index of the first data record that is not yet part of it
    durable_root: bytes32
    volatile_root: bytes32
    withdrawals_root: bytes32
    withdrawals_count: uint256
    inbox_position: uint256
    inbox_hash: bytes32
    last_time_ms: uint256

struct Claim:
    parent: bytes32
    outcome: bytes32  # hash of the Outcome
    withdrawals_root: bytes32
    proposer: address

struct Contest:
    deadline: uint256  # last moment for a sibling; the first claim starts the window
    living: uint256  # claims on this parent that are not dead

event RecordPosted:
    index: indexed(uint256)
    record_hash: bytes32
    record: DataRecord

event RecordData:
    index: indexed(uint256)
    data: Bytes[122880]

event ClaimProposed:
    record_index: indexed(uint256)
    key: indexed(bytes32)
    parent: indexed(bytes32)
    claim_id: bytes32
    proposer: address
    deadline: uint256
    exit_code: uint256
    journal: Bytes[512]
    outcome: Outcome

event ClaimCancelled:
    key: indexed(bytes32)
    winner: indexed(bytes32)

event ClaimDiscarded:
    key: indexed(bytes32)

event ClaimFinal:
    record_index: indexed(uint256)
    key: indexed(bytes32)
    withdrawals_root: bytes32

event Collected:
    receiver: indexed(address)
    amount: uint256

BLOBS: constant(uint256) = 0
CALLDATA: constant(uint256) = 1
ENCODING_VERSION: constant(uint256) = 1
OPERATIONS: constant(uint256) = 0
MAX_BLOBS: constant(uint256) = 6
BLOB_DATA_BYTES: constant(uint256) = 4096 * 31
CHUNK_BYTES: constant(uint256) = 1024
CHUNK_DEPTH: constant(uint256) = 7
CHUNKS: constant(uint256) = 2**CHUNK_DEPTH
MAX_CALLDATA_BYTES: constant(uint256) = 120 * CHUNK_BYTES
JOURNAL_BYTES: constant(uint256) = 512
MAX_INBOX_ITEMS_PER_BATCH: constant(uint256) = 8192
CLOCK_SLACK: constant(uint256) = 12  # seconds a batch may be ahead of L1
FIELD_PRIME: constant(uint256) = 2**31 - 2**24 + 1
MAX_WINDOW: constant(uint256) = 30 * 86400
DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
# keccak256 of 512 zero bytes
EMPTY_JOURNAL_HASH: constant(bytes32) = (
    0xd5c44f659751a819616c58c9efe38e80f2b84cf621036da99c019bbe4f1fb647
)

# Values of `status`.
UNKNOWN: constant(uint256) = 0
PENDING: constant(uint256) = 1
FINAL: constant(uint256) = 2
DEAD: constant(uint256) = 3

DOMAIN: immutable(bytes32)
PROGRAM_ID: public(immutable(bytes32))
INBOX: public(immutable(address))
SEQUENCER: public(immutable(address))
DISPUTE: public(immutable(address))
BOND: public(immutable(uint256))
CHALLENGE_WINDOW: public(immutable(uint256))
FORCE_DELAY: public(immutable(uint256))
GENESIS_DURABLE_ROOT: public(immutable(bytes32))
GENESIS_VOLATILE_ROOT: public(immutable(bytes32))

record_count: public(uint256)
record_hash: public(HashMap[uint256, bytes32])
last_sequencer_time: public(uint256)
claims: public(HashMap[bytes32, Claim])
contests: public(HashMap[bytes32, Contest])
dead: HashMap[bytes32, bool]
finalised: HashMap[bytes32, bool]
final_head: public(bytes32)
final_count: public(uint256)
final_inbox_position: public(uint256)
credit: public(HashMap[address, uint256])


@deploy
def __init__(
    program_id: bytes32,
    genesis_durable_root: bytes32,
    genesis_volatile_root: bytes32,
    inbox: address,
    sequencer: address,
    dispute: address,
    bond: uint256,
    challenge_window: uint256,
    force_delay: uint256,
):
    """
    @param program_id identifies the machine image that judges every data record
    @param genesis_durable_root root of the durable half of the state before the first record
    @param genesis_volatile_root root of its volatile half
    @param inbox the inbox whose items the rollup consumes
    @param sequencer may post at any time; everybody else once `posting_is_open`
    @param dispute the dispute game, the only caller that may cancel a claim
    @param bond wei that a claim must carry, at least one defender's worst gas
    @param challenge_window seconds in which a claim can be contradicted
    @param force_delay seconds of silence after which anyone may post
    """
    assert program_id != empty(bytes32), "rollup: program id"
    assert self._is_canonical(genesis_durable_root), "rollup: genesis durable root"
    assert self._is_canonical(genesis_volatile_root), "rollup: genesis volatile root"
    assert inbox.is_contract, "rollup: inbox"
    assert sequencer != empty(address), "rollup: sequencer"
    assert dispute != empty(address), "rollup: dispute"
    assert bond > 0, "rollup: bond"
    assert challenge_window > 0 and challenge_window <= MAX_WINDOW, "rollup: challenge window"
    assert force_delay > 0 and force_delay <= MAX_WINDOW, "rollup: force delay"
    PROGRAM_ID = program_id
    GENESIS_DURABLE_ROOT = genesis_durable_root
    GENESIS_VOLATILE_ROOT = genesis_volatile_root
    INBOX = inbox
    SEQUENCER = sequencer
    DISPUTE = dispute
    BOND = bond
    CHALLENGE_WINDOW = challenge_window
    FORCE_DELAY = force_delay
    DOMAIN = keccak256(
        abi_encode(DOMAIN_TYPE_HASH, keccak256("Entresol"), keccak256("1"), chain.id, self)
    )
    genesis: Outcome = Outcome(
        next_record=0,
        durable_root=genesis_durable_root,
        volatile_root=genesis_volatile_root,
        withdrawals_root=empty(bytes32),
        withdrawals_count=0,
        inbox_position=0,
        inbox_hash=empty(bytes32),
        last_time_ms=0,
    )
    key: bytes32 = keccak256(abi_encode(DOMAIN, program_id, genesis))
    self.claims[key] = Claim(
        parent=empty(bytes32),
        outcome=keccak256(abi_encode(genesis)),
        withdrawals_root=empty(bytes32),
        proposer=msg.sender,
    )
    self.final_head = key
    self.finalised[key] = True
    self.last_sequencer_time = block.timestamp


# Data records


@external
def post_blobs(
    index: uint256,
    data_bytes: uint256,
    inbox_position: uint256,
    inbox_hash: bytes32,
    last_time_ms: uint256,
):
    """
    @notice Records the blobs of this transaction as data record `index`.
    @dev    The last three arguments are what the batch was built on.  They are not stored; they
            make a transaction fail that a reorg or a clock would turn into an invalid batch.
    @param index must be the next index, so that a batch cannot land twice or out of order
    @param data_bytes bytes packed into the blobs, 31 per field element
    @param inbox_position inbox items consumed up to the end of the batch
    @param inbox_hash inbox chain value there
    @param last_time_ms time of the batch's last block
    """
    hashes: bytes32[MAX_BLOBS] = empty(bytes32[MAX_BLOBS])
    blobs: uint256 = 0
    for i: uint256 in range(MAX_BLOBS):
        hashes[i] = blobhash(i)
        if hashes[i] == empty(bytes32):
            break
        blobs += 1
    assert blobs > 0, "rollup: no blobs"
    assert blobhash(MAX_BLOBS) == empty(bytes32), "rollup: too many blobs"
    assert data_bytes > (blobs - 1) * BLOB_DATA_BYTES, "rollup: unused blob"
    assert data_bytes <= blobs * BLOB_DATA_BYTES, "rollup: data length"
    self._check_batch(index, inbox_position, inbox_hash, last_time_ms)
    self._record(BLOBS, data_bytes, hashes, empty(bytes32))


@external
def post_calldata(
    index: uint256,
    data: Bytes[MAX_CALLDATA_BYTES],
    inbox_position: uint256,
    inbox_hash: bytes32,
    last_time_ms: uint256,
):
    """
    @notice Records `data` as data record `index`: the alternative when blobs cost more.
    @dev    Other arguments as in `post_blobs`.  The data's commitment is a keccak-Merkle root over
            128 leaves: leaf i is the hash of bytes `1024 * i` up to `1024 * (i + 1)` or the end,
            and zero past the end.
    """
    assert len(data) > 0, "rollup: no data"
    self._check_batch(index, inbox_position, inbox_hash, last_time_ms)
    leaves: bytes32[CHUNKS] = empty(bytes32[CHUNKS])
    for i: uint256 in range(CHUNKS):
        start: uint256 = i * CHUNK_BYTES
        if start >= len(data):
            break
        leaves[i] = keccak256(slice(data, start, min(len(data) - start, CHUNK_BYTES)))
    root: bytes32 = self._root_of_leaves(leaves)
    self._record(CALLDATA, len(data), empty(bytes32[MAX_BLOBS]), root)
    log RecordData(index=index, data=data)


@external
@view
def posting_is_open() -> bool:
    """
    @notice True while anyone may post: the sequencer is silent for FORCE_DELAY, or an inbox item
            waits longer than FORCE_DELAY and two challenge windows to become part of a final
            claim.
    """
    return self._posting_is_open()


# Claims


@external
@payable
def propose(
    parent: bytes32,
    before: Outcome,
    record: DataRecord,
    durable_after: bytes32,
    volatile_after: bytes32,
    exit_code: uint256,
    journal: Bytes[JOURNAL_BYTES],
) -> bytes32:
    """
    @notice Claims that running data record `record` on the state that claim `parent` ended with
            gave these roots, exit code and journal.  Carries the bond.
    @param before the parent's outcome, which this contract keeps as a hash
    @param journal the 512 bytes of the run; empty when the exit code is not 0
    @return the new claim's key
    """
    assert msg.value == BOND, "rollup: bond"
    assert self.claims[parent].proposer != empty(address), "rollup: unknown parent"
    assert not self.dead[parent], "rollup: dead parent"
    assert keccak256(abi_encode(before)) == self.claims[parent].outcome, "rollup: outcome"
    assert record.index == before.next_record, "rollup: record order"
    record_hash: bytes32 = keccak256(abi_encode(record))
    assert record_hash == self.record_hash[record.index], "rollup: record"
    assert exit_code < 2**64, "rollup: exit code"

    after: Outcome = before
    after.next_record = record.index + 1
    journal_hash: bytes32 = empty(bytes32)
    if exit_code == 0:
        assert self._is_canonical(durable_after), "rollup: durable root"
        assert self._is_canonical(volatile_after), "rollup: volatile root"
        journal_hash = keccak256(journal)
        after.durable_root = durable_after
        after.volatile_root = volatile_after
        after = self._apply_journal(after, record, journal)
    else:
        assert durable_after == before.durable_root, "rollup: state after a failed run"
        assert volatile_after == before.volatile_root, "rollup: state after a failed run"
        assert len(journal) == 0, "rollup: journal of a failed run"
        journal_hash = EMPTY_JOURNAL_HASH

    claim_id: bytes32 = keccak256(
        abi_encode(
            chain.id,
            self,
            record.index,
            PROGRAM_ID,
            before.durable_root,
            before.volatile_root,
            record_hash,
            durable_after,
            volatile_after,
            exit_code,
            journal_hash,
        )
    )
    key: bytes32 = keccak256(concat(parent, claim_id))
    assert self.claims[key].proposer == empty(address), "rollup: claim exists"
    contest: Contest = self.contests[parent]
    if contest.deadline == 0:
        contest.deadline = block.timestamp + CHALLENGE_WINDOW
    assert block.timestamp <= contest.deadline, "rollup: too late for a sibling"
    contest.living += 1
    self.contests[parent] = contest
    self.claims[key] = Claim(
        parent=parent,
        outcome=keccak256(abi_encode(after)),
        withdrawals_root=after.withdrawals_root,
        proposer=msg.sender,
    )
    log ClaimProposed(
        record_index=record.index,
        key=key,
        parent=parent,
        claim_id=claim_id,
        proposer=msg.sender,
        deadline=contest.deadline,
        exit_code=exit_code,
        journal=journal,
        outcome=after,
    )
    return key


@external
def finalise(key: bytes32, outcome: Outcome):
    """
    @notice Makes a claim final: its parent is the final head, its window has passed and no sibling
            lives.  Credits the bond to the proposer.  Anyone may send it.
    """
    claim: Claim = self.claims[key]
    assert claim.proposer != empty(address), "rollup: unknown claim"
    assert claim.parent == self.final_head, "rollup: parent is not the final head"
    assert not self.dead[key], "rollup: dead claim"
    contest: Contest = self.contests[claim.parent]
    assert block.timestamp > contest.deadline, "rollup: window is open"
    assert contest.living == 1, "rollup: sibling lives"
    assert keccak256(abi_encode(outcome)) == claim.outcome, "rollup: outcome"
    index: uint256 = self.final_count
    self.final_head = key
    self.finalised[key] = True
    self.final_count = index + 1
    self.final_inbox_position = outcome.inbox_position
    self.credit[claim.proposer] += BOND
    log ClaimFinal(record_index=index, key=key, withdrawals_root=claim.withdrawals_root)


@external
def cancel_claim(key: bytes32, winner: bytes32):
    """
    @notice The dispute game's verdict: the claim `key` is false and its living sibling `winner`
            beat it.  The loser's bond goes to the winner's proposer.
    """
    assert msg.sender == DISPUTE, "rollup: not the dispute game"
    claim: Claim = self.claims[key]
    assert claim.proposer != empty(address), "rollup: unknown claim"
    assert claim.parent != empty(bytes32), "rollup: genesis"
    assert key != winner, "rollup: winner is the loser"
    assert self.claims[winner].parent == claim.parent, "rollup: winner is not a sibling"
    assert not self.dead[key], "rollup: dead claim"
    assert not self.dead[winner], "rollup: dead winner"
    self.dead[key] = True
    self.contests[claim.parent].living -= 1
    self.credit[self.claims[winner].proposer] += BOND
    log ClaimCancelled(key=key, winner=winner)


@external
def discard(key: bytes32):
    """
    @notice Buries a claim that stands on a dead one and credits its bond back: nobody had to
            dispute it.  Anyone may send it, level by level.
    """
    claim: Claim = self.claims[key]
    assert claim.proposer != empty(address), "rollup: unknown claim"
    assert self.dead[claim.parent], "rollup: parent lives"
    assert not self.dead[key], "rollup: dead claim"
    self.dead[key] = True
    self.contests[claim.parent].living -= 1
    self.credit[claim.proposer] += BOND
    log ClaimDiscarded(key=key)


@external
def collect() -> uint256:
    """
    @notice Pays the caller the bonds credited to it.
    """
    amount: uint256 = self.credit[msg.sender]
    assert amount > 0, "rollup: nothing to collect"
    self.credit[msg.sender] = 0
    raw_call(msg.sender, b"", value=amount)
    log Collected(receiver=msg.sender, amount=amount)
    return amount


@external
@view
def status(key: bytes32) -> uint256:
    """
    @notice 0 unknown, 1 pending, 2 final, 3 dead.  A pending claim may still stand on a dead one.
    """
    claim: Claim = self.claims[key]
    if claim.proposer == empty(address):
        return UNKNOWN
    if self.dead[key]:
        return DEAD
    if self.finalised[key]:
        return FINAL
    return PENDING


@external
@view
def final_withdrawals_root(key: bytes32) -> bytes32:
    """
    @notice Root of the withdrawals tree that the claim `key` ended with, once that is final.
    """
    assert self.finalised[key], "rollup: not final"
    return self.claims[key].withdrawals_root


@external
@view
def domain() -> bytes32:
    """
    @notice The EIP-712 domain separator that every signature and withdrawal is bound to.
    """
    return DOMAIN


# What the entry points above are made of


@internal
@view
def _posting_is_open() -> bool:
    if block.timestamp > self.last_sequencer_time + FORCE_DELAY:
        return True
    position: uint256 = self.final_inbox_position
    if position == staticcall Inbox(INBOX).count():
        return False
    due: uint256 = staticcall Inbox(INBOX).time_of(position) + FORCE_DELAY + 2 * CHALLENGE_WINDOW
    return block.timestamp > due


@internal
@view
def _check_batch(
    index: uint256, inbox_position: uint256, inbox_hash: bytes32, last_time_ms: uint256
):
    assert msg.sender == SEQUENCER or self._posting_is_open(), "rollup: not the sequencer"
    assert index == self.record_count, "rollup: record index"
    assert inbox_position <= staticcall Inbox(INBOX).count(), "rollup: inbox position"
    assert inbox_hash == staticcall Inbox(INBOX).chain_hash_at(
        inbox_position
    ), "rollup: inbox hash"
    assert last_time_ms <= (block.timestamp + CLOCK_SLACK) * 1000, "rollup: ahead of L1"


@internal
def _record(
    source: uint256, data_bytes: uint256, blob_hashes: bytes32[MAX_BLOBS], chunk_root: bytes32
):
    index: uint256 = self.record_count
    position: uint256 = staticcall Inbox(INBOX).count()
    record: DataRecord = DataRecord(
        index=index,
        source=source,
        data_kind=OPERATIONS,
        data_bytes=data_bytes,
        blob_hashes=blob_hashes,
        chunk_root=chunk_root,
        l1_block=block.number,
        l1_time=block.timestamp,
        inbox_position=position,
        inbox_hash=staticcall Inbox(INBOX).chain_hash_at(position),
        poster=msg.sender,
    )
    record_hash: bytes32 = keccak256(abi_encode(record))
    self.record_hash[index] = record_hash
    self.record_count = index + 1
    if msg.sender == SEQUENCER:
        self.last_sequencer_time = block.timestamp
    log RecordPosted(index=index, record_hash=record_hash, record=record)


@internal
@view
def _apply_journal(
    start: Outcome, record: DataRecord, journal: Bytes[JOURNAL_BYTES]
) -> Outcome:
    """
    @dev Holds the journal against what L1 knows and returns `start` with the journal's cursors.
         Offsets are those of JOURNAL in `kernel/layout.py`; integers are little-endian.
    """
    assert len(journal) == JOURNAL_BYTES, "rollup: journal length"
    assert self._number_at(journal, 0) == ENCODING_VERSION, "rollup: encoding version"
    assert self._number_at(journal, 8) == record.data_kind, "rollup: data kind"
    withdrawals_count: uint256 = self._number_at(journal, 48)
    inbox_position: uint256 = self._number_at(journal, 56)
    inbox_hash: bytes32 = extract32(journal, 64)
    first_time_ms: uint256 = self._number_at(journal, 96)
    last_time_ms: uint256 = self._number_at(journal, 104)
    assert withdrawals_count >= start.withdrawals_count, "rollup: withdrawals count"
    assert inbox_position >= start.inbox_position, "rollup: inbox position"
    assert inbox_position <= record.inbox_position, "rollup: inbox position"
    assert (
        inbox_position - start.inbox_position <= MAX_INBOX_ITEMS_PER_BATCH
    ), "rollup: inbox position"
    assert inbox_hash == staticcall Inbox(INBOX).chain_hash_at(
        inbox_position
    ), "rollup: inbox hash"
    assert first_time_ms >= start.last_time_ms, "rollup: first time"
    assert last_time_ms >= first_time_ms, "rollup: last time"
    assert last_time_ms <= (record.l1_time + CLOCK_SLACK) * 1000, "rollup: last time"
    # Reserved words, and the evaluations that only the validity model uses.
    for offset: uint256 in [200, 224, 256, 288, 320, 352, 384, 416, 448, 480]:
        assert extract32(journal, offset) == empty(bytes32), "rollup: reserved journal bytes"
    outcome: Outcome = start
    outcome.withdrawals_root = extract32(journal, 16)
    outcome.withdrawals_count = withdrawals_count
    outcome.inbox_position = inbox_position
    outcome.inbox_hash = inbox_hash
    outcome.last_time_ms = last_time_ms
    return outcome


@internal
@pure
def _number_at(journal: Bytes[JOURNAL_BYTES], offset: uint256) -> uint256:
    """
    @dev The little-endian 8-byte integer at `offset`: its bytes, last one first.
    """
    word: uint256 = convert(extract32(journal, offset), uint256) >> 192
    number: uint256 = 0
    for i: uint256 in range(8):
        number = number << 8 | (word & 255)
        word = word >> 8
    return number


@internal
@pure
def _is_canonical(root: bytes32) -> bool:
    """
    @dev A root is eight field elements of four bytes each, every one below the prime.
    """
    rest: uint256 = convert(root, uint256)
    for i: uint256 in range(8):
        if rest & (2**32 - 1) >= FIELD_PRIME:
            return False
        rest = rest >> 32
    return True


@internal
@pure
def _root_of_leaves(leaves: bytes32[CHUNKS]) -> bytes32:
    nodes: bytes32[CHUNKS] = leaves
    width: uint256 = CHUNKS
    for level: uint256 in range(CHUNK_DEPTH):
        width = width // 2
        for i: uint256 in range(width, bound=64):
            nodes[i] = keccak256(concat(nodes[2 * i], nodes[2 * i + 1]))
    return nodes[0]
