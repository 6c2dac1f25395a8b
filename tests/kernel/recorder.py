"""Records a live chain's blocks and runs them again as a batch."""

from entresol.crypto import eip712
from entresol.kernel import layout, transition
from entresol.kernel.invariants import check_invariants
from entresol.rollup import block as blocks
from entresol.rollup.batch_encoder import encode_batch
from entresol.rollup.block import Block, encode_block
from entresol.rollup.message import LaneMessage, encode_message

L1_TIME = 1_000


class Recorder:
    """Drives a live chain block by block and keeps what a batch of them needs."""

    def __init__(self, chain, make_chain):
        self.chain, self.make_chain = chain, make_chain
        self.blocks = []
        self.items = []
        self.signers = {}
        self.order = []
        self.hashes = []
        self.before = make_chain()
        self.begin()

    def begin(self):
        """Start a batch at the present state."""
        self.before.memory.copy_state_from(self.chain.memory)
        self.blocks, self.items, self.order, self.hashes = [], [], [], []
        self.first_item = int(self.chain.header["inbox_position"])

    def open(self, time_ms, items=()):
        self.number, self.time = int(self.chain.header["next_block"]), time_ms
        self.messages, self.links = [], []
        self.items += self.chain.put_items(list(items))
        assert transition.open_block(self.chain.base, time_ms, len(items)) == 0
        self.inbox_count = len(items)

    def send(self, message):
        raw = encode_message(message)
        if isinstance(message, LaneMessage):
            record = self.chain.durable["lane"][message.lane]
            tip, entry = record["tip"].tobytes(), (message.lane, int(record["registration"]))
            if entry not in self.order:
                self.order.append(entry)
        else:
            tip = b""
        assert self.chain.send(raw) == 0
        self.messages.append(raw)
        self.links.append(blocks.message_link(raw, tip))
        if tip:
            self.signers[entry] = self.chain.durable["lane"]["tip"][message.lane].tobytes()

    def close(self):
        header = self.chain.header
        previous = header["last_header_hash"].tobytes()
        block = Block(
            number=self.number,
            time_ms=self.time,
            inbox_count=self.inbox_count,
            messages=tuple(self.messages),
        )
        assert self.chain.close() == 0
        position, inbox_hash = int(header["inbox_position"]), header["inbox_hash"].tobytes()
        digest = blocks.header_hash(previous, block, position, inbox_hash, self.links)
        assert header["last_header_hash"].tobytes() == digest
        self.hashes.append(digest)
        self.blocks.append(block)
        assert check_invariants(self.chain.base) == 0

    def signatures(self, keys):
        """The batch's lane signatures: `keys` maps (lane, registration) to a person."""
        return [
            self.chain.sign(keys[entry], eip712.lane_tip_digest(self.chain.domain, tip))
            for entry, tip in ((entry, self.signers[entry]) for entry in self.order)
        ]

    def encode(self, signatures):
        replay = self.make_chain()
        replay.memory.copy_state_from(self.before.memory)
        self.provide_items(replay)
        return encode_batch(replay.memory, [encode_block(b) for b in self.blocks], signatures)

    def provide_items(self, chain):
        chain.memory.write(layout.INBOX_ITEMS_BASE, b"".join(self.items))
        chain.set_params(inbox_first=self.first_item, inbox_count=len(self.items), l1_time=L1_TIME)

    def run_batch(self, data, prepare=None):
        """Run apply_batch on the state before; returns (status, the chain it ran on)."""
        chain = self.make_chain()
        chain.memory.copy_state_from(self.before.memory)
        chain.memory.clear("SCRATCH")
        self.provide_items(chain)
        chain.set_params(data_bytes=len(data))
        chain.put(data)
        if prepare:
            prepare(chain)
        return int(transition.apply_batch(chain.base)), chain
