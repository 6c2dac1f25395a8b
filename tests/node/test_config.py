"""The configuration refuses what the node cannot run with, and never shows a secret."""

import pathlib

import pytest
import venue
from running import configuration

from entresol.node.config import ConfigurationError, L1Config


def test_bounds_are_said(tmp_path: pathlib.Path) -> None:
    for changes, word in (
        ({"block_interval_ms": 49}, "between 50 and 250"),
        ({"block_interval_ms": 251}, "between 50 and 250"),
        ({"sequencer_secret": b"short"}, "32 bytes"),
        ({"l1": L1Config(url="http://x", deployment=tmp_path)}, "not both"),
    ):
        with pytest.raises(ConfigurationError, match=word):
            configuration(tmp_path, **changes)


def test_secrets_do_not_show(tmp_path: pathlib.Path) -> None:
    l1 = L1Config(
        url="http://x",
        deployment=tmp_path,
        batcher_secret=b"\xaa" * 32,
        proposer_secret=b"\xbb" * 32,
    )
    config = configuration(tmp_path, l1=l1, inbox_file=None)
    text = repr(config)
    for secret in (venue.SEQUENCER.secret, l1.batcher_secret, l1.proposer_secret):
        assert secret is not None and repr(secret) not in text and secret.hex() not in text


def test_the_api_stays_on_loopback_unless_told(tmp_path: pathlib.Path) -> None:
    assert configuration(tmp_path).api.host == "127.0.0.1"
