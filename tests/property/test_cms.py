# SPDX-License-Identifier: Apache-2.0
"""CMS signatures, log entries in them and Git's objects: a value or a FormatError."""

import base64
import contextlib
import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from countermark.client.git.objects import parse_object
from countermark.client.git.verify import verify_signature
from countermark.client.verify import Root
from countermark.core.bundle.bundle import InclusionProof, TransparencyLogEntry
from countermark.core.cms.entry import encode_entry, parse_entry
from countermark.core.cms.git_signature import GitSignature
from countermark.core.cms.signed_data import parse_signed_data
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    FormatError,
    NotFound,
    SignatureInvalid,
    VerificationError,
)
from countermark.core.verify.policy import Identity
from tests.support.cms import PAYLOAD, Parts, attributes, bundle
from tests.support.forge import ISSUER, NAME, Forge

FORGE = Forge()
ROOT = Root("root", FORGE.trusted_root())
GOOD = Parts.of(bundle(FORGE, attributes()), attributes())
INT64 = st.integers(0, 2**63 - 1)
HASHES = st.binary(min_size=32, max_size=32)
PROOFS = st.builds(
    InclusionProof, INT64, HASHES, INT64, st.lists(HASHES, max_size=5).map(tuple), st.text()
)
ENTRIES = st.builds(
    TransparencyLogEntry,
    *(INT64, HASHES, st.text(), st.text(), INT64, st.binary(), st.none() | PROOFS, st.just(b"")),
)


@given(ENTRIES)
def test_entries_come_back(entry: TransparencyLogEntry) -> None:
    assert parse_entry(encode_entry(entry)) == entry


@given(st.binary())
@example(b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
def test_anything_for_an_entry(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        parse_entry(data)


@given(st.binary())
def test_anything_for_a_signature(data: bytes) -> None:
    for parse in (parse_signed_data, GitSignature.parse):
        with contextlib.suppress(FormatError):
            parse(data)


@given(st.integers(0, len(GOOD.der()) - 1), st.integers(0, 255))
def test_one_byte_changed_verifies_only_if_nothing_was_signed_there(at: int, byte: int) -> None:
    """Or if the byte was that already. What nobody signed is the entry's place in its envelope."""
    data = bytearray(GOOD.der())
    data[at] = byte
    changed = bytes(data)
    armour = b"".join(
        (b"-----BEGIN SIGNED MESSAGE-----\n", base64.encodebytes(changed), b"-----END SIGNED ")
    )
    try:
        signature = GitSignature.parse(armour + b"MESSAGE-----\n")
        verify_signature(PAYLOAD, signature, Identity(NAME, ISSUER), root=ROOT)
    except (FormatError, VerificationError, AlgorithmRefused):
        return
    read, good = parse_signed_data(changed), parse_signed_data(GOOD.der())
    assert read.signed_bytes == good.signed_bytes
    assert read.signature == good.signature
    assert read.certificates == good.certificates


@given(st.sampled_from(["commit", "tag"]), st.binary(max_size=200), st.booleans())
def test_any_object(kind: str, data: bytes, signed: bool) -> None:
    if signed:
        header = b"\ngpgsig -----BEGIN SIGNED MESSAGE-----\n x\n\n"
        data = data + (header if kind == "commit" else b"\n-----BEGIN SIGNED MESSAGE-----\n")
    oid = hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()
    with contextlib.suppress(FormatError, NotFound, SignatureInvalid):
        found = parse_object(oid, kind, data)
        assert len(found.payload) + len(found.signature) <= len(data) + 1
        assert found.signature.startswith(b"-----BEGIN SIGNED MESSAGE-----")


def test_the_good_one_verifies() -> None:
    signature = GitSignature.parse(GOOD.pem())
    assert verify_signature(PAYLOAD, signature, Identity(NAME, ISSUER), root=ROOT)
    assert issubclass(FormatError, CountermarkError)
