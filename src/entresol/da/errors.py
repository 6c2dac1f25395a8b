"""Exceptions of the data availability package."""


class DataAvailabilityError(Exception):
    """Bytes that do not fit, or are not what their hash or length says."""


class BlobError(DataAvailabilityError):
    """A blob of the wrong size or form, or more data than blobs can carry."""


class ChunkError(DataAvailabilityError):
    """Calldata that is too long, or a chunk or proof that does not exist."""


class ArchiveError(DataAvailabilityError):
    """The blob archive cannot be used, or a stored blob is damaged."""
