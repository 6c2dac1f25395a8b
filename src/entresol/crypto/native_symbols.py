"""Placeholder binding, replaced by the crypto package: see ARCHITECTURE.md."""


def install() -> None:
    pass


def keccak256_twin(pointer: int, length: int, out: int) -> None:
    raise NotImplementedError


def ecrecover_twin(digest: int, v: int, r: int, s: int, out: int) -> None:
    raise NotImplementedError
