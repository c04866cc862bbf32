# SPDX-License-Identifier: Apache-2.0
"""Old signatures of any bytes: a Bundle or FormatError, whatever the files hold."""

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from countermark.client.signatures import parse_signatures
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.legacy import from_parts, parse_cosign_bundle
from countermark.core.errors import FormatError
from tests.support.forge import Forge
from tests.support.old_cosign import old_bundle, rekor_bundle

MADE = Forge().bundle()
GOOD = old_bundle(MADE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["base64Signature", "cert", "rekorBundle", "Payload", "body", "logID", "logIndex",
             "integratedTime", "SignedEntryTimestamp", "payloadType", "signatures", "sig"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
).map(lambda tree: json.dumps(tree).encode())  # fmt: skip
ANYTHING = st.binary(max_size=80) | JSON


@given(ANYTHING)
def test_an_old_bundle_or_a_format_error(data: bytes) -> None:
    with suppress(FormatError):
        assert parse_cosign_bundle(data).version == "legacy"


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_parts_or_a_format_error(
    signature: bytes, certificate: bytes, promise: bytes, timestamp: bytes
) -> None:
    with suppress(FormatError):
        assert from_parts(signature, certificate, promise, timestamp).signature


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte(at: int, value: int) -> None:
    changed = GOOD[:at] + bytes((value,)) + GOOD[at + 1 :]
    try:
        found = parse_signatures(changed, "x")
    except FormatError:
        return
    assert all(isinstance(item, Bundle | FormatError) for item in found)


@given(st.lists(st.sampled_from([MADE.serialize(), GOOD, b"", b"{}", b"x"]), min_size=1))
def test_lines_are_read_one_by_one(lines: list[bytes]) -> None:
    try:
        found = parse_signatures(b"\n".join(lines), "x.jsonl")
    except FormatError:
        assert not any(lines)
        return
    assert [isinstance(item, Bundle) for item in found] == [
        line.startswith((b'{"m', b'{"b')) for line in lines if line
    ]


def test_a_promise_is_read_as_it_was_written() -> None:
    entry = from_parts(b"AAAA", rekor_bundle=json.dumps(rekor_bundle(MADE)).encode()).tlog_entries[
        0
    ]
    assert entry == MADE.tlog_entries[0]._replace(inclusion_proof=None)
