"""Random sessions of everything at once: live, replayed as a batch, invariants after each block."""

import random

import pytest
from tests.kernel.recorder import Recorder

from entresol.kernel import layout
from entresol.kernel.rejections import Refusal
from entresol.machine.execute import compare
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import difference
from entresol.rollup.message import Operation

CASH = 50_000_000_000
PEOPLE = (7, 8, 9)
WIDTHS = {"flags": 8, "instrument": 16, "slot": 16, "price": 32, "quantity": 32, "account": 32}


class Session:
    """Random but mostly sensible traffic from one seed."""

    def __init__(self, seed, chain, make_chain):
        self.random = random.Random(seed)
        self.chain = chain
        publisher, lanes = chain.start_market(*PEOPLE, amount=CASH)
        assert chain.close() == 0
        self.publisher = publisher
        self.person_of = {publisher: 102} | {lane: 107 + n for n, lane in enumerate(lanes)}
        self.keys = {}
        self.recorder = Recorder(chain, make_chain)

    def account(self):
        return self.random.choice((3, 4, 5))

    def place(self):
        choose = self.random.choice
        side = choose((0, 1))
        return Operation(
            kind=layout.PLACE,
            flags=side | choose((0, 0, 0, 2, 4, 8, 16, 24)),
            slot=choose((layout.ANY_SLOT, self.random.randrange(12))),
            price=600_000 + self.random.randint(-30, 30) + (30 if side else -30) * choose((0, 1)),
            quantity=choose((1, 5, 20, 300)),
            label=self.random.getrandbits(8),
        )

    def quotes(self):
        count = self.random.randint(0, 5)
        legs = [
            Operation(
                kind=layout.QUOTE_LEG,
                flags=leg & 1,
                slot=100 + leg,
                price=600_000 + (40 if leg & 1 else -40) + self.random.randint(-20, 20),
                quantity=self.random.randint(0, 9),
            )
            for leg in range(count)
        ]
        return [Operation(kind=layout.MASS_QUOTE, count=count), *legs]

    def odd(self):
        values = {name: self.random.getrandbits(bits) for name, bits in WIDTHS.items()}
        kept = {name: values[name] for name in values if self.random.random() < 0.3}
        kinds = [kind for kind in range(256) if kind not in (4, 5)]
        return Operation(kind=self.random.choice(kinds), **kept)

    def operations(self):
        records = []
        for _ in range(self.random.randint(1, 6)):
            choice = self.random.random()
            if choice < 0.5:
                records.append(self.place())
            elif choice < 0.65:
                records += self.quotes()
            elif choice < 0.8:
                slot = self.random.randrange(12)
                records.append(Operation(kind=layout.CANCEL, slot=slot))
            elif choice < 0.85:
                records.append(Operation(kind=layout.CANCEL_ALL))
            elif choice < 0.9:
                value, account = self.random.randint(-1, CASH), self.random.randrange(8)
                records.append(Operation(kind=layout.TRANSFER, value=value, account=account))
            else:
                records.append(self.odd())
        return records[: layout.MAX_RECORDS_PER_MESSAGE]

    def send_lane(self):
        lane = self.random.choice(sorted(self.person_of))
        operations = self.operations()
        if lane == self.publisher:
            price = 60_000_000_000 + self.random.randint(-(10**9), 10**9)
            operations = [Operation(kind=layout.ORACLE_INDEX, value=price)]
        message = self.chain.lane_message(lane, *operations)
        refusal = self.chain.check(message)
        if refusal == Refusal.REJECTION_LIMIT:
            return
        assert refusal == 0
        registration = int(self.chain.durable["lane"]["registration"][lane])
        self.keys[lane, registration] = self.person_of[lane]
        self.recorder.send(message)

    def send_owner(self):
        account, choice = self.account(), self.random.random()
        person = account + 4
        mine = [lane for lane, key in self.person_of.items() if key % 100 == person]
        if choice < 0.4:
            kind, fields = layout.WITHDRAW, {"amount": self.random.randint(-1, CASH)}
            fields["address"] = self.chain.address(person)
        elif choice < 0.6:
            kind, fields = layout.OWNER_TRANSFER, {"amount": self.random.randint(0, CASH)}
            fields["account"] = self.random.randrange(8)
        elif choice < 0.8 or not mine:
            key = 100 * self.random.randint(1, 9) + person
            kind, fields = layout.REGISTER_LANE, {"address": self.chain.address(key)}
            fields |= {"expires_ms": 10**9, "permissions": self.random.choice((1, 5, 7))}
        else:
            kind, fields = layout.REVOKE_LANE, {"lane": self.random.choice(mine)}
        self.recorder.send(self.chain.owner_message(account, person, kind, **fields))
        if self.chain.status() == 0 and kind == layout.REGISTER_LANE:
            lane = int(self.chain.events(layout.EVENT_LANE_REGISTERED)[-1]["label"])
            self.person_of[lane] = key
        self.forget_revoked()

    def forget_revoked(self):
        for lane in list(self.person_of):
            if self.chain.durable["lane"]["registration"][lane] == 0:
                del self.person_of[lane]

    def items(self):
        items = []
        for _ in range(self.random.choice((0, 0, 1, 3))):
            person = self.random.choice((*PEOPLE, 20, 21))
            amount = self.random.choice((1, 10**6, CASH, (1 << 64) - 1))
            kind = self.random.choice((64, 64, 65, 66, 67, 200))
            if kind == layout.INBOX_DEPOSIT:
                items.append(self.chain.deposit_item(person, amount, self.random.choice((0, 0, 1))))
                continue
            lane = self.random.choice((0, *self.person_of))
            recipient = self.chain.address(person)
            item = self.chain.item(kind, person, recipient=recipient, amount=amount, lane=lane)
            items.append(item)
        return items

    def run_block(self, time_ms):
        self.recorder.open(time_ms, self.items())
        self.forget_revoked()
        for _ in range(self.random.choice((0, 1, 5, 12))):
            if self.random.random() < 0.8:
                self.send_lane()
            else:
                self.send_owner()
        self.recorder.close()


def batches(session):
    """Two batches of six blocks each: yields (recorder, published bytes) at the end of each."""
    recorder = session.recorder
    for _ in range(2):
        recorder.begin()
        time_ms = session.chain.now
        for _ in range(6):
            time_ms += session.random.choice((0, 100, 950))
            session.run_block(time_ms)
        yield recorder, recorder.encode(recorder.signatures(session.keys))


def replay_session(seed, make_chain):
    """Run each batch of a session again from its published bytes; the session's header."""
    session = Session(seed, make_chain(rejections_per_second=20), make_chain)
    for recorder, data in batches(session):
        status, chain = recorder.run_batch(data)
        assert status == 0
        assert difference(chain.memory, session.chain.memory, ["STATE"]) == []
    return session.chain.header


@pytest.mark.parametrize("first_seed", range(0, 16, 4))
def test_random_sessions_replay_to_the_same_state(make_chain, first_seed):
    headers = [replay_session(seed, make_chain) for seed in range(first_seed, first_seed + 4)]
    for counter in ("fill_count", "rejection_count", "withdrawal_count", "bounced"):
        assert sum(int(header[counter]) for header in headers) > 0


@pytest.mark.timeout(900)
def test_the_machine_does_what_native_code_does(make_chain):
    """Sound batches, and the same with one bit changed, in the image: equal byte for byte."""
    image = load_kernel_image()
    exit_codes = []
    for seed in range(100, 104):
        session = Session(seed, make_chain(rejections_per_second=20), make_chain)
        for recorder, data in batches(session):
            changed = bytearray(data)
            changed[session.random.randrange(len(data))] ^= 1 << session.random.randrange(8)
            for published in (data, bytes(changed)):
                chain = make_chain()
                chain.memory.copy_state_from(recorder.before.memory)
                recorder.provide_items(chain)
                chain.set_params(data_bytes=len(published))
                params = chain.memory.read(layout.PARAMS_BASE, layout.PARAMS_BYTES)
                items = b"".join(recorder.items)
                exit_codes.append(compare(chain.memory, image, params, published, items).exit_code)
    assert set(exit_codes[::2]) == {0}
    assert any(exit_codes[1::2])
