import json

import pytest

from entresol.settlement.sender import (
    GWEI,
    BalanceLowError,
    FeeCapError,
    FeePolicy,
    Sender,
    SendTimeoutError,
    write_atomically,
)
from entresol.settlement.transaction import Call

pytestmark = pytest.mark.l1

TO = b"\x99" * 20


def transfer(value=1, sidecar=None):
    return Call(to=TO, data=b"", gas_limit=30_000, value=value, sidecar=sidecar)


def mined(world, nonce, name="alice"):
    """Value of the transaction that took `nonce`."""
    address = world.address(name)
    for number in range(world.client.head().number + 1):
        digest = world.client.transaction_of(address, nonce, number)
        if digest is not None:
            return int(world.node.rpc("eth_getTransactionByHash", "0x" + digest)["value"], 16)
    return None


@pytest.fixture
def manual(world):
    """A world whose blocks are mined by hand."""
    world.node.rpc("evm_setAutomine", False)
    world.mine = lambda: world.node.rpc("evm_mine")
    return world


def drive(sender, call, tag, mine, rounds=20):
    for _ in range(rounds):
        receipt = sender.step(call, tag)
        if receipt is not None:
            return receipt
        mine()
    raise AssertionError("the transaction did not get in")


def test_a_restart_continues_the_same_transaction(manual, tmp_path):
    state = tmp_path / "sender.json"
    first = Sender(manual.client, manual.secret("alice"), state=state)
    assert first.step(transfer(), "a") is None
    hashes = json.loads(state.read_text())["hashes"]
    second = Sender(manual.client, manual.secret("alice"), state=state)
    assert second.pending.hashes == hashes
    assert second.step(transfer(), "a") is None
    receipt = drive(second, transfer(), "a", manual.mine)
    assert receipt.transaction.hex() == hashes[0]
    assert manual.client.nonce(second.address) == 1
    assert second.pending is None and json.loads(state.read_text()) is None


def test_a_crash_between_writing_and_sending_is_made_good(manual, tmp_path, monkeypatch):
    state = tmp_path / "sender.json"
    sender = Sender(manual.client, manual.secret("alice"), state=state)

    class CrashError(BaseException):
        pass

    def crash(raw):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(manual.client, "send_raw", crash)
        with pytest.raises(CrashError):
            sender.step(transfer(), "a")
    again = Sender(manual.client, manual.secret("alice"), state=state)
    drive(again, transfer(), "a", manual.mine)
    assert manual.client.nonce(again.address) == 1


def test_an_underpriced_transaction_is_raised_until_it_is_mined(manual):
    sender = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(patience_blocks=2))
    sender.step(transfer(), "a")
    first = sender.pending.fees
    high = 3 * first.gas
    for _ in range(12):
        manual.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(high))
        manual.mine()
        receipt = sender.step(transfer(), "a")
        if receipt is not None:
            break
    assert receipt is not None and receipt.succeeded
    assert receipt.gas_price >= high
    assert manual.client.nonce(sender.address) == 1


def test_a_blob_transaction_is_replaced_at_twice_the_price(manual, sidecars):
    sender = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(patience_blocks=0))
    call = transfer(sidecar=sidecars[1])
    sender.step(call, "a")
    first = sender.pending.fees
    assert sender.step(call, "a") is None
    second = sender.pending.fees
    assert second.gas >= 2 * first.gas
    assert second.tip >= 2 * first.tip
    assert second.blob_gas >= 2 * first.blob_gas
    assert len(sender.pending.hashes) == 2
    receipt = drive(sender, call, "a", manual.mine)
    assert receipt.blob_gas_used == 1 << 17
    assert manual.client.nonce(sender.address) == 1


def test_a_replacement_that_the_pool_finds_too_cheap_is_raised(manual):
    """A dearer transaction of the same account waits under the same nonce."""
    rich = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(tip=40 * GWEI))
    rich.step(transfer(111), "x")
    sender = Sender(manual.client, manual.secret("alice"))
    sender.step(transfer(222), "y")
    assert sender.pending.fees.gas > 40 * GWEI
    drive(sender, transfer(222), "y", manual.mine)
    assert mined(manual, 0) == 222


def test_the_fee_cap_stops_replacing(manual):
    rich = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(tip=400 * GWEI))
    rich.step(transfer(111), "x")
    sender = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(gas_cap=100 * GWEI))
    with pytest.raises(FeeCapError, match="raise the cap"):
        sender.step(transfer(222), "y")
    assert sender.pending is None


def test_nothing_is_sent_above_the_fee_cap(manual):
    sender = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(gas_cap=GWEI))
    with pytest.raises(FeeCapError, match="gwei per gas"):
        sender.step(transfer(), "a")
    assert sender.pending is None


def test_a_transaction_replaced_from_elsewhere_is_given_up(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    sender.step(transfer(1), "a")
    other = Sender(manual.client, manual.secret("alice"), policy=FeePolicy(tip=50 * GWEI))
    other.step(transfer(2), "b")
    manual.mine()
    assert mined(manual, 0) == 2
    assert sender.step(transfer(1), "a") is None
    assert sender.pending is None
    # The caller, who looks at the chain, asks again if it still wants it.
    drive(sender, transfer(1), "a", manual.mine)
    assert mined(manual, 1) == 1


def test_a_transaction_that_the_node_forgot_is_sent_again(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    sender.step(transfer(), "a")
    manual.node.rpc("anvil_dropAllTransactions")
    assert not manual.client.knows_transaction(bytes.fromhex(sender.pending.hashes[0]))
    drive(sender, transfer(), "a", manual.mine)
    assert manual.client.nonce(sender.address) == 1


def test_another_wish_takes_the_place_of_the_transaction_in_flight(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    sender.step(transfer(1), "a")
    receipt = drive(sender, transfer(2), "b", manual.mine)
    assert receipt.succeeded
    assert mined(manual, 0) == 2
    assert manual.client.nonce(sender.address) == 1


def test_low_balance_is_said_before_anything_is_sent(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    manual.node.rpc("anvil_setBalance", "0x" + sender.address.hex(), hex(10**12))
    with pytest.raises(BalanceLowError, match="send it ETH and start again") as caught:
        sender.step(transfer(), "a")
    assert sender.address.hex() in str(caught.value)
    assert caught.value.balance == 10**12 < caught.value.required
    assert sender.pending is None
    assert manual.client.nonce(sender.address) == 0
    manual.node.rpc("anvil_setBalance", "0x" + sender.address.hex(), hex(10**18))
    drive(sender, transfer(), "a", manual.mine)


def test_a_reserve_is_kept(manual):
    policy = FeePolicy(reserve=2000 * 10**18)
    sender = Sender(manual.client, manual.secret("alice"), policy=policy)
    with pytest.raises(BalanceLowError):
        sender.step(transfer(), "a")


def test_waiting_has_an_end(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    with pytest.raises(SendTimeoutError, match="not in L1 yet"):
        sender.send(transfer(), "a", timeout_seconds=0.0)


def test_settle_forgets_what_is_mined(manual):
    sender = Sender(manual.client, manual.secret("alice"))
    sender.settle()
    sender.step(transfer(), "a")
    sender.settle()
    assert sender.pending is not None
    manual.mine()
    sender.settle()
    assert sender.pending is None


def test_files_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_gap_that_a_reorg_left_is_filled(manual):
    """The transaction before the one in flight is gone, from the chain and from the pool."""
    sender = Sender(manual.client, manual.secret("alice"))
    drive(sender, transfer(1), "a", manual.mine)
    sender.step(transfer(2), "b")
    assert sender.pending.nonce == 1
    manual.node.rpc("anvil_dropAllTransactions")
    manual.node.rpc("anvil_reorg", 1, [])
    assert manual.client.nonce(sender.address) == 0
    drive(sender, transfer(2), "b", manual.mine)
    assert mined(manual, 0) == 2
