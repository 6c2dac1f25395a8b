"""The kernel's image and the program id that L1 pins."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.machine.build import load_kernel_code
from entresol.machine.layout_document import canonical_layout
from entresol.machine.state_tree import root_of_region

STATE_HASH_ID: Final = 1
"""The state hash of ADR 0002; another permutation or another padding gets another number."""


@dataclass(frozen=True, slots=True)
class Image:
    """A program: the bytes of CODE from CODE_BASE on, where it starts, and its id."""

    code: bytes
    entry: int
    program_id: bytes
    """32 bytes."""


def program_id(code: bytes) -> bytes:
    """keccak256 of everything that gives a run its meaning.

    CODE root (32 bytes), keccak256 of the canonical layout JSON (32), encoding version and state
    hash id as 32-byte big-endian words.
    """
    return keccak256(
        root_of_region(code, layout.CODE_BASE, layout.CODE_BYTES)
        + keccak256(canonical_layout())
        + layout.ENCODING_VERSION.to_bytes(32, "big")
        + STATE_HASH_ID.to_bytes(32, "big")
    )


def image_of(code: bytes) -> Image:
    """The image that starts at CODE_BASE with this code."""
    return Image(code, layout.CODE_BASE, program_id(code))


@lru_cache(maxsize=1)
def load_kernel_image() -> Image:
    """The image of this source tree's kernel; built once per source, then read from the cache.

    Raises BuildError or LinkError if the kernel cannot become an image.
    """
    return image_of(load_kernel_code())
