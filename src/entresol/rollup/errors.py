"""Exceptions for rollup bytes that come from outside and are not what they claim to be."""


class RollupDataError(Exception):
    """Bytes or fields that no honest peer would have produced; nothing was changed."""


class MessageError(RollupDataError):
    """Bytes that are not exactly one message, or a field outside its width."""


class BlockError(RollupDataError):
    """Bytes that are not exactly one plain block."""


class BatchEncodingError(RollupDataError):
    """A block or a batch that the codec cannot carry; the message says which limit it breaks."""


class ClaimError(RollupDataError):
    """A claim or journal field outside its width, or journal bytes with a reserved byte set."""


class InboxItemError(RollupDataError):
    """Bytes that are not exactly one inbox item, or a field outside its width."""


class WithdrawalError(RollupDataError):
    """A withdrawal field outside its width, or an index beyond the tree."""


class DerivationError(RollupDataError):
    """Data records or inbox items that do not continue where the last ones ended."""
