# SPDX-License-Identifier: Apache-2.0
"""What the conformance suite does not look at: names, leaf keys, several entries and operators."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.core.errors import (
    ChainInvalid,
    IdentityMismatch,
    InclusionInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import FORGE, ROOT, SECOND, STRANGER, check, refused
from tests.support.every_key import REGISTRY, Kind, body_v1, body_v2, kind_of, signed_content
from tests.support.forge import ARTIFACT, ISSUER, SCT_LIST, Plan, sign_content
from tests.support.made_certificates import NOW, b64, canonical, tlv, to_der, utf8

USER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
NAMES: dict[str, tuple[x509.GeneralName, str, str]] = {
    "e-mail": (x509.RFC822Name("me@example.org"), "email", "me@example.org"),
    "URI": (x509.UniformResourceIdentifier("https://a.b/c@d"), "uri", "https://a.b/c@d"),
    "DNS": (x509.DNSName("build.example.org"), "dns", "build.example.org"),
    "user name": (
        x509.OtherName(USER_NAME, utf8("jörg!oidc.local")), USER_NAME.dotted_string,
        "jörg!oidc.local",
    ),
}  # fmt: skip


@pytest.mark.parametrize("log", ["v1", "v2"])
@pytest.mark.parametrize(("name", "kind", "text"), NAMES.values(), ids=NAMES)
def test_names_of_every_kind_are_decoded_and_compared(
    log: str, name: x509.GeneralName, kind: str, text: str
) -> None:
    bundle = Bundle.parse(FORGE.bundle(name=name, log=log).serialize())
    evidence = verify(bundle, BytesArtifact(ARTIFACT), ROOT, Identity(text, ISSUER))
    assert evidence.signer is not None
    assert (evidence.signer.kind, evidence.signer.name) == (kind, text)
    for other in (text[:-1], text + "\0", f"\x0c\x10{text}", text.upper()):
        with pytest.raises(IdentityMismatch):
            verify(bundle, BytesArtifact(ARTIFACT), ROOT, Identity(other, ISSUER))


def leaf_of(public_key: Any, *, critical: bool = True) -> x509.Certificate:
    """A signer's certificate over any key, with an SCT; its names critical or not."""
    plain = FORGE.leaf(ec.generate_private_key(ec.SECP256R1()), Plan(scts=0))
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(plain.issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
    )
    for extension in plain.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            continue
        names = isinstance(extension.value, x509.SubjectAlternativeName)
        builder = builder.add_extension(extension.value, critical if names else extension.critical)
    without = builder.sign(FORGE.ca_key, hashes.SHA256())
    item = FORGE.sct(without.tbs_certificate_bytes, NOW)
    body = len(item).to_bytes(2) + item
    value = tlv(0x04, len(body).to_bytes(2) + body)
    final = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, value), critical=False)
    return final.sign(FORGE.ca_key, hashes.SHA256())


def certified(kind: Kind, leaf: x509.Certificate, *, log: str, envelope: bool = False) -> Bundle:
    """A bundle of a certified key of any kind."""
    content = signed_content(kind, envelope=envelope)
    signature = (
        content.signature if isinstance(content, MessageSignature) else content.signatures[0].sig
    )
    tree = body_v1(kind, content) if log == "v1" else body_v2(kind, content)
    pem = b64(leaf.public_bytes(Encoding.PEM))
    if log == "v2":
        verifier = {"keyDetails": kind.details, "x509Certificate": {"rawBytes": b64(to_der(leaf))}}
        tree["spec"]["hashedRekordV002"]["signature"]["verifier"] = verifier
    elif envelope:
        tree["spec"]["signatures"][0]["verifier"] = pem
    else:
        tree["spec"]["signature"]["publicKey"]["content"] = pem
    body = canonical(tree)
    plan = Plan(log=log)
    entry = (
        FORGE.bundle(plan)
        .tlog_entries[0]
        ._replace(
            kind=tree["kind"],
            version=tree["apiVersion"],
            canonicalized_body=body,
            inclusion_proof=FORGE.proof(body, plan, log),
            inclusion_promise=b"",
            integrated_time=0,
        )
    )
    stamps = (FORGE.timestamp(signature, NOW),)
    return Bundle("0.3", (to_der(leaf),), None, (entry,), stamps, content)


def public_key_of(kind: Kind) -> Any:
    return load_der_public_key(kind.spki)


@pytest.mark.parametrize("details", [name for name in REGISTRY if name != "PKIX_ED25519"])
def test_certificates_over_keys_of_every_kind(details: str) -> None:
    kind = kind_of(details)
    leaf = leaf_of(public_key_of(kind))
    for envelope in (False, True):
        bundle = certified(kind, leaf, log="v2", envelope=envelope)
        assert check(Bundle.parse(bundle.serialize())).key == kind.key
    if "PSS" not in details:
        assert check(certified(kind, leaf, log="v1"))
    another = leaf_of(public_key_of(kind_of("PKIX_ED25519")))
    with pytest.raises((InclusionInvalid, SignatureInvalid)):
        check(certified(kind, another, log="v2"))


def test_envelopes_signed_with_certified_ed25519() -> None:
    kind = kind_of("PKIX_ED25519")
    assert check(certified(kind, leaf_of(public_key_of(kind)), log="v1", envelope=True))


def test_names_must_be_critical_where_there_is_no_subject() -> None:
    """RFC 5280 section 4.2.1.6."""
    kind = kind_of("PKIX_ECDSA_P256_SHA_256")
    key = public_key_of(kind)
    assert check(certified(kind, leaf_of(key), log="v2"))
    with pytest.raises(ChainInvalid, match="names are not critical"):
        check(certified(kind, leaf_of(key, critical=False), log="v2"))


def both_logs() -> Bundle:
    """One signature in both logs, with a timestamp."""
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan()
    leaf = FORGE.leaf(key, plan)
    content, signature = sign_content(key, plan)
    entries = (
        FORGE.entry_v1(plan, content, signature, leaf.public_bytes(Encoding.PEM)),
        FORGE.entry_v2(plan, content, signature, leaf, key),
    )
    stamps = (FORGE.timestamp(signature, NOW),)
    return Bundle("0.3", (to_der(leaf),), None, entries, stamps, content)


def test_every_entry_is_checked_and_none_excuses_another() -> None:
    bundle = both_logs()
    first, second = bundle.tlog_entries
    evidence = check(bundle, thresholds=Thresholds(logs=2))
    assert [record.log for record in evidence.records] == [
        "https://log.example.org", "https://v2.example.org",
    ]  # fmt: skip
    other = both_logs().tlog_entries
    stranger = STRANGER.bundle().tlog_entries[0]
    for entries in (
        (first, other[1]),
        (other[0]._replace(inclusion_promise=b""), second),
        (first, second, stranger),
        (first._replace(inclusion_promise=b""), second._replace(canonicalized_body=b"{}")),
    ):
        refused("the log entry|does not lead|no trusted", bundle._replace(tlog_entries=entries))


def test_a_log_that_is_listed_with_two_windows() -> None:
    """A merged root: the key's first period, and the one after it."""
    bundle = FORGE.bundle()
    log, v2 = ROOT.tlogs
    before = log._replace(validity=Validity(NOW - 9 * SECOND, NOW - SECOND))
    during = log._replace(validity=Validity(NOW, NOW))
    for logs in ((before, during, v2), (during, before, v2)):
        assert check(bundle, ROOT._replace(tlogs=logs))
        assert check(FORGE.bundle(promise=False), ROOT._replace(tlogs=logs))
    refused("another time", bundle, TimeUnproven, root=ROOT._replace(tlogs=(before, before)))


def test_many_entries_and_timestamps_up_to_the_limit() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan(tree_size=64)
    leaf = FORGE.leaf(key, plan)
    content, signature = sign_content(key, plan)
    pem = leaf.public_bytes(Encoding.PEM)
    entries = tuple(
        FORGE.entry_v1(replace(plan, leaf_index=index), content, signature, pem)
        for index in range(32)
    )
    stamps = tuple(FORGE.timestamp(signature, NOW + index * SECOND) for index in range(32))
    bundle = Bundle("0.3", (to_der(leaf),), None, entries, stamps, content)
    evidence = check(Bundle.parse(bundle.serialize()))
    assert (len(evidence.records), len(evidence.times)) == (32, 64)
    one_late = (*stamps[:-1], FORGE.timestamp(signature, NOW + 660 * SECOND))
    refused("not valid at", bundle._replace(timestamps=one_late), ChainInvalid)


def operated(root: TrustedRoot, **operators: str) -> TrustedRoot:
    """The root with operators by the host's first word."""

    def named(items: Any, url: str) -> Any:
        return tuple(
            item._replace(
                operator=operators.get(getattr(item, url).split("/")[2].split(".")[0], "")
            )
            for item in items
        )

    return root._replace(
        tlogs=named(root.tlogs, "base_url"),
        ctlogs=named(root.ctlogs, "base_url"),
        timestamp_authorities=named(root.timestamp_authorities, "uri"),
    )


def test_thresholds_are_of_operators_whatever_they_run() -> None:
    bundle = both_logs()
    two = operated(ROOT, log="ann", v2="bob", tsa="bob", ct="ann")
    one = operated(ROOT, log="ann", v2="ann", tsa="ann", ct="ann")
    assert check(bundle, two, thresholds=Thresholds(times=2, logs=2))
    refused("1 trusted logs", bundle, root=one, thresholds=Thresholds(logs=2))
    refused("1 trusted parties", bundle, TimeUnproven, root=one, thresholds=Thresholds(times=2))


def test_the_statement_is_about_the_artifact_and_no_other() -> None:
    """sigstore-js takes any artifact for an envelope's bundle; its callers must look."""
    for plan in ({"envelope": True}, {"envelope": True, "log": "v2"},
                 {"envelope": True, "kind": "intoto"}):  # fmt: skip
        bundle = Bundle.parse(FORGE.bundle(**plan).serialize())
        evidence = check(bundle)
        assert evidence.statement is not None
        subject = evidence.statement.subjects[0]
        assert subject.digests == {"sha256": hashlib.sha256(ARTIFACT).digest()}
        for other in (b"", ARTIFACT + b"\n", bundle.signature):
            with pytest.raises(SignatureInvalid, match="other artifacts"):
                check(bundle, artifact=other)
