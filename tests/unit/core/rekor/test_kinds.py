# SPDX-License-Identifier: Apache-2.0
"""Which entry types are taken, and what is said of the others."""

import pytest

from countermark.core.errors import FormatError
from countermark.core.rekor.entry import EntryRejected
from countermark.core.rekor.kinds import KNOWN_KINDS, admit, canonicalize_query
from countermark.core.rekor.stored import stored_search_keys
from tests.support.rekor import SigningKey, dsse, encode, envelope, hashedrekord, intoto

KEY = SigningKey.new()
HASHED = encode(hashedrekord(KEY, b"x")["spec"])
INTOTO = encode(intoto(envelope(b"{}", KEY), KEY.pem)["spec"])
DSSE = encode(dsse(envelope(b"{}", KEY), KEY.pem)["spec"])


def test_the_kinds_of_upstream_are_known() -> None:
    assert len(KNOWN_KINDS) == 11


def test_taken() -> None:
    for kind, version, spec in (
        ("hashedrekord", "0.0.1", HASHED),
        ("dsse", "0.0.1", DSSE),
        ("intoto", "0.0.2", INTOTO),
    ):
        entry = admit(kind, version, spec)
        assert canonicalize_query(kind, version, spec) == entry
        assert set(stored_search_keys(entry.body)) <= set(entry.search_keys)


def test_not_taken() -> None:
    for kind in ("intoto", "rpm"):
        with pytest.raises(EntryRejected, match=f"entry kind '{kind}' is not enabled"):
            admit(kind, "0.0.1", b"{}")
        assert canonicalize_query(kind, "0.0.1", b"{}") is None


def test_unknown_version() -> None:
    with pytest.raises(EntryRejected, match=r"unable to locate entry for version 0\.0\.2"):
        admit("hashedrekord", "0.0.2", HASHED)
    with pytest.raises(EntryRejected, match=r"unable to locate entry for version 0\.0\.2"):
        canonicalize_query("dsse", "0.0.2", DSSE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"apiVersion":"0.0.1","kind":"rpm","spec":{}}',
        b'{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}',
        b'{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"a","value":"b"},'
        b'"payloadHash":{"algorithm":"a","value":"b"},"signatures":[{"verifier":"QUFB"}]}}',
    ],
)
def test_bodies_that_no_log_of_ours_holds(body: bytes) -> None:
    with pytest.raises(FormatError):
        stored_search_keys(body)
