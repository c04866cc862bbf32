# SPDX-License-Identifier: Apache-2.0
"""A Git signature is a bundle about its signed attributes, and of no other object."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.client.git.verify import verify_signature
from countermark.client.verify import Root
from countermark.core.bundle.bundle import Bundle, TransparencyLogEntry
from countermark.core.cms.entry import encode_entry
from countermark.core.cms.git_signature import MAX_ARMOUR_BYTES, GitSignature
from countermark.core.cms.write import attribute, git_signature
from countermark.core.crypto import der
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from tests.support.cms import LOG_ENTRY, PAYLOAD, TIMESTAMP, Parts, attributes, bundle
from tests.support.forge import ISSUER, NAME, Forge
from tests.support.made_certificates import NOW

ME = Identity(NAME, ISSUER)
OTHER_PAYLOAD = PAYLOAD.replace(b"what", b"that")


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


def judge(
    forge: Forge, armoured: bytes, payload: bytes = PAYLOAD, policy: Identity = ME
) -> Evidence:
    signature = GitSignature.parse(armoured)
    root = Root("root", forge.trusted_root())
    return verify_signature(payload, signature, policy, root=root)


def signed(forge: Forge, payload: bytes = PAYLOAD, **changes: Any) -> tuple[Bundle, Parts]:
    made = bundle(forge, attributes(payload), **changes)
    return made, Parts.of(made, attributes(payload))


def test_what_is_written_verifies(forge: Forge) -> None:
    made, parts = signed(forge)
    armoured = git_signature(attributes(), made).encode()
    evidence = judge(forge, armoured)
    assert evidence.signer is not None
    assert evidence.signer.name == NAME
    assert {item.source for item in evidence.times} == {"log", "timestamp"}
    assert {check.name for check in evidence.checks} >= {"promise", "inclusion", "entry", "sct"}
    read = GitSignature.parse(armoured)
    assert read.signed_data.signed_bytes == attributes()
    assert read.bundle()._replace(content=made.content) == made
    assert read.fingerprint == hashlib.sha256(made.certificates[0]).hexdigest()
    stamped = parts.but(unsigned=sorted((*parts.unsigned, attribute(TIMESTAMP, token(made)))))
    assert stamped.pem() == armoured


def token(made: Bundle) -> bytes:
    response = der.decode(made.timestamps[0], "timestamp", der.SEQUENCE).reader("timestamp")
    response.read(der.SEQUENCE)
    return response.read(der.SEQUENCE).encoded


def test_a_signature_without_timestamp_verifies(forge: Forge) -> None:
    _, parts = signed(forge, timestamp=False)
    (time,) = judge(forge, parts.pem()).times
    assert (time.source, time.time) == ("log", NOW)


def test_a_certificate_that_has_expired_since_still_proves(forge: Forge) -> None:
    long_ago = NOW - timedelta(days=100)
    _, parts = signed(forge, made_at=long_ago)
    assert judge(forge, parts.pem()).times[0].time == long_ago


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_keys_of_other_curves(forge: Forge, curve: ec.EllipticCurve) -> None:
    name = {384: "sha384", 521: "sha512"}[curve.key_size]
    attrs = attributes(hash_name=name)
    made = bundle(forge, attrs, curve=curve)
    evidence = judge(forge, git_signature(attrs, made).encode())
    assert evidence.key.hash_name == name


def test_an_entry_of_log_api_v2(forge: Forge) -> None:
    made, parts = signed(forge, log="v2")
    armoured = git_signature(attributes(), made).encode()
    assert GitSignature.parse(armoured).bundle()._replace(content=made.content) == made
    assert {item.source for item in judge(forge, armoured).times} == {"timestamp"}
    with pytest.raises(TimeUnproven):  # such a log proves no time
        judge(forge, parts.pem())


def refused(
    forge: Forge, armoured: bytes, kind: type[CountermarkError], why: str, **more: Any
) -> None:
    with pytest.raises(kind, match=why):
        judge(forge, armoured, **more)


def test_another_object(forge: Forge) -> None:
    _, parts = signed(forge)
    refused(forge, parts.pem(), SignatureInvalid, "another commit", payload=OTHER_PAYLOAD)


def test_another_identity(forge: Forge) -> None:
    _, parts = signed(forge)
    policy = Identity("bob@example.org", ISSUER)
    refused(forge, parts.pem(), IdentityMismatch, "identity is", policy=policy)
    elsewhere = Identity(NAME, "https://elsewhere.example.org")
    refused(forge, parts.pem(), IdentityMismatch, "issuer is", policy=elsewhere)


def test_a_stripped_entry(forge: Forge) -> None:
    _, parts = signed(forge)
    refused(forge, parts.but(unsigned=()).pem(), InclusionInvalid, "carries no log entry")


def test_an_entry_of_another_commit(forge: Forge) -> None:
    _, parts = signed(forge)
    _, others = signed(forge, OTHER_PAYLOAD)
    refused(forge, parts.but(unsigned=others.unsigned).pem(), InclusionInvalid, "promise")


def test_an_entry_that_brings_another_body(forge: Forge) -> None:
    made, parts = signed(forge)
    (entry,) = made.tlog_entries
    body = entry.canonicalized_body
    whole = with_body(entry, body)
    assert judge(forge, parts.but(unsigned=(whole,)).pem())
    other = with_body(entry, body.replace(b"sha256", b"sha512"))
    refused(forge, parts.but(unsigned=(other,)).pem(), InclusionInvalid, "another signature")


def with_body(entry: TransparencyLogEntry, body: bytes) -> bytes:
    """Field 7 of the message, as peers may write it."""
    length = bytes((len(body) & 0x7F | 0x80, len(body) >> 7))
    return attribute(LOG_ENTRY, der.octet_string(encode_entry(entry) + b"\x3a" + length + body))


def test_a_timestamp_of_another_signature(forge: Forge) -> None:
    made, parts = signed(forge)
    other, _ = signed(forge, OTHER_PAYLOAD)
    swapped = (*parts.unsigned, attribute(TIMESTAMP, token(other)))
    refused(forge, parts.but(unsigned=swapped).pem(), TimeUnproven, "something else")
    good = (*parts.unsigned, attribute(TIMESTAMP, token(made)))
    assert judge(forge, parts.but(unsigned=good).pem())


def test_a_signature_of_a_key_without_certificate(forge: Forge) -> None:
    made, parts = signed(forge)
    refused(forge, parts.but(certificates=()).pem(), FormatError, "0 certificates")
    stranger = signed(Forge())[1].leaf
    alone = parts.but(certificates=(stranger.der,))
    refused(forge, alone.pem(), FormatError, "0 certificates")
    twice = parts.but(certificates=(parts.leaf.der, parts.leaf.der))
    refused(forge, twice.pem(), FormatError, "2 certificates")
    assert made.certificates == (parts.leaf.der,)


def test_a_certificate_of_nobody_we_trust(forge: Forge) -> None:
    stranger = Forge()
    stranger.log_key, stranger.log_id = forge.log_key, forge.log_id
    stranger.tsa_key, stranger.tsa = forge.tsa_key, forge.tsa
    _, parts = signed(stranger)
    refused(forge, parts.pem(), ChainInvalid, "not signed by its issuer")


def test_a_certificate_that_was_not_valid_when_it_was_used(forge: Forge) -> None:
    _, parts = signed(forge, integrated_at=NOW + timedelta(minutes=11), timestamp=False)
    refused(forge, parts.pem(), ChainInvalid, "not valid at")


def test_a_changed_signature(forge: Forge) -> None:
    _, parts = signed(forge)
    other = signed(forge)[1].signature
    refused(forge, parts.but(signature=other).pem(), InclusionInvalid, "promise")


def test_another_content_type(forge: Forge) -> None:
    attrs = attributes().replace(der.oid("1.2.840.113549.1.7.1"), der.oid("1.2.840.113549.1.7.3"))
    parts = Parts.of(bundle(forge, attrs), attrs)
    refused(forge, parts.pem(), SignatureInvalid, "another type of content")


def test_no_digest_among_the_signed_attributes(forge: Forge) -> None:
    attrs = der.set_of(attribute("1.2.840.113549.1.9.3", der.oid("1.2.840.113549.1.7.1")))
    parts = Parts.of(bundle(forge, attrs), attrs)
    refused(forge, parts.pem(), SignatureInvalid, "another commit")


def test_names_another_kind_of_key(forge: Forge) -> None:
    _, parts = signed(forge)
    rsa = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL_VALUE)
    refused(forge, parts.but(algorithm=rsa).pem(), FormatError, "another kind of key")


def test_attributes_that_are_there_twice(forge: Forge) -> None:
    made, parts = signed(forge)
    twice = parts.unsigned * 2
    refused(forge, parts.but(unsigned=twice).pem(), FormatError, "twice")
    (entry,) = made.tlog_entries
    many = tuple(
        attribute(LOG_ENTRY, der.octet_string(encode_entry(entry._replace(log_index=number))))
        for number in range(33)
    )
    refused(forge, parts.but(unsigned=many).pem(), FormatError, "more than 32")


def test_entries_of_other_kinds(forge: Forge) -> None:
    made, parts = signed(forge)
    (entry,) = made.tlog_entries
    other = attribute(LOG_ENTRY, der.octet_string(encode_entry(entry._replace(kind="dsse"))))
    refused(forge, parts.but(unsigned=(other,)).pem(), FormatError, "of kind 'dsse 0.0.1'")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda pem: pem + pem, "2 PEM blocks"),
        (lambda pem: b"x" + pem, "not PEM"),
        (lambda pem: pem + b"trailer", "not PEM"),
        (lambda pem: pem.replace(b"SIGNED MESSAGE", b"CMS"), "instead of"),
        (lambda pem: pem.replace(b"MII", b"M\xff\xff"), "UTF-8"),
        (lambda pem: pem + b" " * MAX_ARMOUR_BYTES, "is larger than"),
        (lambda pem: b"", "is empty"),
    ],
)
def test_armour_that_holds_more_or_less(forge: Forge, change: Any, why: str) -> None:
    _, parts = signed(forge)
    refused(forge, change(parts.pem()), FormatError, why)


def test_windows_line_ends_are_read(forge: Forge) -> None:
    _, parts = signed(forge)
    assert judge(forge, parts.pem().replace(b"\n", b"\r\n"))


def test_only_a_certified_signature_over_data_is_written(forge: Forge) -> None:
    attrs = attributes()
    for made in (forge.bundle(certificate=False), forge.bundle(envelope=True)):
        with pytest.raises(FormatError, match="certified signature over plain data"):
            git_signature(attrs, made)


def test_the_name_may_be_a_workload(forge: Forge) -> None:
    uri = "https://github.com/o/r/.github/workflows/x.yml@refs/heads/main"
    _, parts = signed(forge, name=x509.UniformResourceIdentifier(uri))
    evidence = judge(forge, parts.pem(), policy=Identity(uri, ISSUER))
    assert evidence.signer is not None
    assert evidence.signer.kind == "uri"


def test_the_digest_is_of_the_hash_that_the_signature_names() -> None:
    forge = Forge()
    attrs = attributes(hash_name="sha384")
    parts = Parts.of(bundle(forge, attrs), attrs)
    refused(forge, parts.pem(), SignatureInvalid, "another commit")
