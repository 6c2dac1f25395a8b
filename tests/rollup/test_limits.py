import pytest

from entresol.kernel import layout
from entresol.rollup import limits
from entresol.rollup.errors import BatchEncodingError


def test_limits_are_what_l1_contracts_were_written_for():
    assert limits.BLOB_DATA_BYTES == 126_976
    assert limits.MAX_BLOB_BATCH_BYTES == 761_856 <= layout.BATCH_DATA_BYTES
    assert limits.MAX_CALLDATA_BATCH_BYTES == 122_880


@pytest.mark.parametrize("as_calldata", [False, True])
def test_a_batch_fits_one_record_or_is_refused(as_calldata):
    most = limits.MAX_CALLDATA_BATCH_BYTES if as_calldata else limits.MAX_BLOB_BATCH_BYTES
    limits.validate_batch(bytes(most), as_calldata=as_calldata)
    for length in (0, most + 1):
        with pytest.raises(BatchEncodingError, match="does not fit"):
            limits.validate_batch(bytes(length), as_calldata=as_calldata)
