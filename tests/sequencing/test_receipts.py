"""A receipt is EIP-712 typed data that eth-account signs the same way."""

import dataclasses

import venue
from eth_account import Account
from eth_account.messages import encode_typed_data

from entresol.sequencing.receipts import Receipt, ReceiptSigner, verify_receipt

RECEIPT = Receipt(
    inbox_position=(1 << 64) - 1,
    inbox_hash=b"\1" * 32,
    block=7,
    index=(1 << 32) - 1,
    lane=3,
    sequence=9,
    tip=b"\2" * 32,
    previous_header_hash=b"\3" * 32,
)


def test_an_independent_library_signs_the_same_bytes() -> None:
    types = {
        "Receipt": [
            {"name": "inboxPosition", "type": "uint64"},
            {"name": "inboxHash", "type": "bytes32"},
            {"name": "blockNumber", "type": "uint64"},
            {"name": "messageIndex", "type": "uint32"},
            {"name": "lane", "type": "uint32"},
            {"name": "sequence", "type": "uint64"},
            {"name": "tip", "type": "bytes32"},
            {"name": "previousHeaderHash", "type": "bytes32"},
        ]
    }
    domain = {
        "name": "Entresol",
        "version": "1",
        "chainId": venue.GENESIS.chain_id,
        "verifyingContract": "0x" + venue.GENESIS.rollup.hex(),
    }
    values = [getattr(RECEIPT, field.name) for field in dataclasses.fields(RECEIPT)]
    names = [member["name"] for member in types["Receipt"]]
    message = encode_typed_data(domain, types, dict(zip(names, values, strict=True)))
    theirs = Account.sign_message(message, venue.SEQUENCER.secret).signature
    ours = ReceiptSigner(venue.SEQUENCER.secret, venue.GENESIS.domain).sign(RECEIPT)
    assert ours == bytes(theirs)
    assert verify_receipt(RECEIPT, ours, venue.GENESIS.domain, venue.SEQUENCER.address)
    assert not verify_receipt(RECEIPT, ours, bytes(32), venue.SEQUENCER.address)
    assert not verify_receipt(RECEIPT, ours, venue.GENESIS.domain, venue.OPERATOR.address)
    assert not verify_receipt(RECEIPT, b"", venue.GENESIS.domain, venue.SEQUENCER.address)
