"""An inbox without L1: a file of 128-byte items that only grows; for development and tests."""

import pathlib

from entresol.kernel import layout


def read_items(path: pathlib.Path, first: int) -> list[bytes]:
    """The whole items in the file from position `first` on; none when there is no file yet."""
    size = layout.INBOX_ITEM_BYTES
    try:
        data = path.read_bytes()[first * size :]
    except FileNotFoundError:
        return []
    whole = len(data) - len(data) % size
    return [data[at : at + size] for at in range(0, whole, size)]
