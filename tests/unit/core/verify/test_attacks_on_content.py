# SPDX-License-Identifier: Apache-2.0
"""Bundles forged with real keys: envelopes, statements, digests and what they are about."""

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    RequestRejected,
    SignatureInvalid,
)
from countermark.core.intoto.envelope import Envelope, EnvelopeSignature
from countermark.core.verify.artifact import BytesArtifact, DigestArtifact
from countermark.core.verify.verifier import verify
from tests.support.attacks import (
    FORGE,
    ME,
    ROOT,
    check,
    refused,
)
from tests.support.forge import ARTIFACT, Plan
from tests.support.made_certificates import (
    NOW,
    to_der,
)


def enveloped(payload: bytes, payload_type: str = "application/vnd.in-toto+json") -> Bundle:
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan(envelope=True)
    leaf = FORGE.leaf(key, plan)
    bare = Envelope(payload, payload_type, ())
    signature = key.sign(bare.pae(), ec.ECDSA(hashes.SHA256()))
    content = bare._replace(signatures=(EnvelopeSignature(signature),))
    entry = FORGE.entry_v2(plan, content, signature, leaf, key)
    stamps = (FORGE.timestamp(signature, NOW),)
    return Bundle("0.3", (to_der(leaf),), None, (entry,), stamps, content)


def about(*subjects: Any, **more: Any) -> bytes:
    tree = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "x", "subject": subjects}
    return json.dumps({**tree, **more}).encode()


MINE = {"digest": {"sha256": hashlib.sha256(ARTIFACT).hexdigest()}}
OTHERS = {"digest": {"sha256": hashlib.sha256(b"other").hexdigest()}}
STATEMENTS: dict[str, tuple[bytes, type[CountermarkError], str]] = {
    "of others": (about(OTHERS), SignatureInvalid, "other artifacts"),
    "of nothing": (about(), FormatError, "subjects"),
    "no digest": (about({"digest": {}}), FormatError, "digests"),
    "short digest": (about({"digest": {"sha256": "ab"}}), FormatError, "hexadecimal digits"),
    "capital digest": (
        about({"digest": {"sha256": MINE["digest"]["sha256"].upper()}}), FormatError, "lower-case",
    ),
    "capital algorithm": (
        about({"digest": {"SHA256": MINE["digest"]["sha256"]}}),
        SignatureInvalid, "other artifacts",
    ),
    "digest of another algorithm": (
        about({"digest": {"sha512": MINE["digest"]["sha256"]}}), FormatError, "digits",
    ),
    "one digest wrong": (
        about({"digest": {**MINE["digest"], "sha512": "00" * 64}}),
        SignatureInvalid, "other artifacts",
    ),
    "another type": (about(MINE, _type="https://example.org"), FormatError, "not of a known type"),
    "subject twice": (
        about(OTHERS)[:-1] + b', "subject": ' + json.dumps([MINE]).encode() + b"}",
        FormatError, "trusted",
    ),
    "digest twice": (
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":'
        b'{"sha256":"%b","sha256":"%b"}}]}' % (
            OTHERS["digest"]["sha256"].encode(), MINE["digest"]["sha256"].encode(),
        ),
        FormatError, "trusted",
    ),
    "behind a byte order mark": (b"\xef\xbb\xbf" + about(MINE), FormatError, "trusted"),
    "in UTF-16": (about(MINE).decode().encode("utf-16"), FormatError, "UTF-8"),
    "two documents": (about(MINE) * 2, FormatError, "trusted"),
    "nested deeply": (about(MINE, predicate=1)[:-2] + b"[" * 100_000, FormatError, "trusted"),
    "a huge number": (about(MINE)[:-1] + b',"p":' + b"9" * 10_000 + b"}", FormatError, "trusted"),
}  # fmt: skip


@pytest.mark.parametrize(("payload", "error", "why"), STATEMENTS.values(), ids=STATEMENTS)
def test_statements(payload: bytes, error: type[CountermarkError], why: str) -> None:
    refused(why, enveloped(payload), error)


def test_payloads_of_other_types() -> None:
    assert check(enveloped(about(MINE)))
    for kind in (
        "application/json",
        "application/vnd.in-toto+JSON",
        "application/vnd.in-toto+json ",
    ):
        refused("names no artifact", enveloped(about(MINE), kind), SignatureInvalid)
    honest = enveloped(about(MINE), "text/plain")
    assert isinstance(honest.content, Envelope)
    lie = honest.content._replace(payload_type="application/vnd.in-toto+json")
    refused("does not record", honest._replace(content=lie))


def test_a_statement_is_not_the_artifact() -> None:
    """An envelope's signature as a plain one, over the bytes that it signs, and the reverse."""
    bundle = enveloped(about(MINE))
    assert isinstance(bundle.content, Envelope)
    plain = bundle._replace(content=MessageSignature(bundle.signature, "", b""))
    refused("does not record", plain)
    # Over the very bytes of the envelope it is a signature like any other, and is no statement.
    evidence = verify(plain, BytesArtifact(bundle.content.pae()), ROOT, ME)
    assert evidence.statement is None
    message = FORGE.bundle(log="v2")
    signature = (EnvelopeSignature(message.signature),)
    claim = Envelope(about(MINE), "application/vnd.in-toto+json", signature)
    refused("does not record", message._replace(content=claim))


def test_of_several_subjects_any_may_be_the_artifact() -> None:
    digest = DigestArtifact("sha256", hashlib.sha256(ARTIFACT).digest())
    only_sha512 = {"digest": {"sha512": "00" * 64}}
    bundle = enveloped(about(only_sha512, OTHERS, MINE))
    assert check(bundle)
    assert verify(bundle, digest, ROOT, ME).statement  # what cannot be compared is not this one
    with pytest.raises(RequestRejected, match="sha512"):
        verify(enveloped(about(only_sha512)), digest, ROOT, ME)


def test_a_digest_hint_of_another_algorithm() -> None:
    bundle = FORGE.bundle()
    for algorithm, digest, error, why in (
        ("SHA2_512", hashlib.sha256(ARTIFACT).digest(), SignatureInvalid, "not the one"),
        ("SHA2_256", hashlib.sha512(ARTIFACT).digest(), SignatureInvalid, "not the one"),
        ("SHA3_256", hashlib.sha3_256(ARTIFACT).digest(), FormatError, "unknown algorithm"),
        ("", hashlib.sha256(ARTIFACT).digest(), FormatError, "unknown algorithm"),
    ):
        content = MessageSignature(bundle.signature, algorithm, digest)
        refused(why, bundle._replace(content=content), error)


def test_a_hash_that_the_key_does_not_sign() -> None:
    """The entry says SHA-512 over a P-256 key: logged so, but not how that key signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = FORGE.leaf(key, Plan())
    signature = key.sign(ARTIFACT, ec.ECDSA(hashes.SHA512()))
    content = MessageSignature(signature, "", b"")
    pem = leaf.public_bytes(Encoding.PEM)
    entry = FORGE.entry_v1(Plan(curve=ec.SECP521R1()), content, signature, pem)
    bundle = Bundle("0.3", (to_der(leaf),), None, (entry,), (), content)
    refused("does not sign sha512", bundle, SignatureInvalid)
