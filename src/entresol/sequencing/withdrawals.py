"""Who is paid by each withdrawal of a block: joins the kernel's events with what caused them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.rollup.errors import RollupDataError
from entresol.rollup.inbox import InboxItem, decode_item
from entresol.rollup.message import OwnerMessage, decode_message


@dataclass(frozen=True, slots=True)
class FoundWithdrawal:
    """One leaf of the withdrawals tree, in words; `recipient` is 20 bytes."""

    index: int
    account: int
    recipient: bytes
    amount: int


def _decode_items(items: Sequence[bytes]) -> list[InboxItem]:
    decoded = []
    for item in items:
        try:
            decoded.append(decode_item(item))
        except RollupDataError:
            continue  # the kernel passes over what is no item, and so does this
    return decoded


def _owner_withdrawals(messages: Sequence[bytes]) -> dict[int, OwnerMessage]:
    """Owner withdrawals by the number of their first record in the block."""
    found = {}
    record = 0
    for message in messages:
        if message[6] == layout.OWNER_MESSAGE and message[32] == layout.WITHDRAW:
            decoded = decode_message(message)
            if isinstance(decoded, OwnerMessage):
                found[record] = decoded
        record += len(message) // 32 - 1
    return found


def _paid(item: InboxItem) -> bytes:
    return item.recipient if any(item.recipient) else item.sender


def find_withdrawals(
    items: Sequence[bytes], messages: Sequence[bytes], events: npt.NDArray[np.void], accounts: Any
) -> list[FoundWithdrawal]:
    """Withdrawals of one block, in order; `accounts` is the account table of the state.

    Inbox items come before messages, and the kernel reports a deposit before it bounces it.
    """
    inbox = _decode_items(items)
    deposits = {item.position & 0xFFFF_FFFF: item for item in inbox}
    forced = [item for item in inbox if item.kind == layout.INBOX_WITHDRAW]
    owned = _owner_withdrawals(messages)
    found = []
    bounced: InboxItem | None = None
    for event in events:
        if event["kind"] == layout.EVENT_DEPOSIT:
            bounced = deposits.get(int(event["label"]))
        if event["kind"] != layout.EVENT_WITHDRAWAL:
            continue
        account = int(event["account"])
        amount = int(event["price"]) << 32 | int(event["quantity"])
        owner = accounts[account]["owner"].tobytes()
        message = owned.get(int(event["index"]))
        if account == layout.HOUSE_ACCOUNT and bounced is not None:
            recipient = _paid(bounced)
        elif (
            message is not None
            and message.account == account
            and message.operation.amount == amount
        ):
            recipient = message.operation.address
        else:
            matching = [item for item in forced if item.sender == owner]
            if not matching:
                continue
            forced.remove(matching[0])
            recipient = _paid(matching[0])
        found.append(FoundWithdrawal(int(event["label"]), account, recipient, amount))
    return found
