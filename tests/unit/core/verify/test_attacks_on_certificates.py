# SPDX-License-Identifier: Apache-2.0
"""Bundles forged with real keys: certificates, their chains and their SCTs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import CertificateAuthority, TrustedRoot, Validity
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    IdentityMismatch,
    SCTInvalid,
)
from tests.support.attacks import (
    FORGE,
    MALLORY,
    ROOT,
    SECOND,
    STRANGER,
    check,
    refused,
    signed_with,
)
from tests.support.forge import EVER, ISSUER, NAME, SCT_LIST, Forge, Plan
from tests.support.made_certificates import (
    NOW,
    authority,
    common_name,
    fulcio,
    tlv,
    to_der,
    utf8,
)


def test_a_leaf_issues_nothing() -> None:
    """Mallory's certificate as an issuer of one with my name."""
    his_key = ec.generate_private_key(ec.SECP256R1())
    his = FORGE.leaf(his_key, Plan(name=MALLORY))

    def leaf_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        forged = Forge()
        forged.ca_key, forged.ct_key, forged.ct_id = his_key, FORGE.ct_key, FORGE.ct_id
        return forged.leaf(key, Plan())

    refused("not signed by its issuer", signed_with(leaf_of), ChainInvalid)
    # Even a root that lists it as an authority does not make it one.
    listed = CertificateAuthority(
        "o", "ca", "https://ca.example.org", (to_der(his), to_der(FORGE.ca), to_der(FORGE.ca_root)),
        EVER,
    )  # fmt: skip
    refused("issuer is not in the trusted root|not an authority's", signed_with(leaf_of),
            ChainInvalid, root=ROOT._replace(certificate_authorities=(listed,)))  # fmt: skip


def reissued(change: Callable[[x509.CertificateBuilder], x509.CertificateBuilder]) -> Bundle:
    """A bundle whose leaf the CA issued otherwise than it should; SCT and all."""

    def leaf_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        usual = FORGE.leaf(key, Plan(scts=0))
        builder = (
            x509.CertificateBuilder()
            .subject_name(usual.subject)
            .issuer_name(usual.issuer)
            .public_key(key.public_key())
            .serial_number(usual.serial_number)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(minutes=10))
        )
        for extension in usual.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        builder = change(builder)
        without = builder.sign(FORGE.ca_key, hashes.SHA256())
        item = FORGE.sct(without.tbs_certificate_bytes, NOW)
        body = len(item).to_bytes(2) + item
        value = tlv(0x04, len(body).to_bytes(2) + body)
        builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, value), critical=False)
        return builder.sign(FORGE.ca_key, hashes.SHA256())

    return signed_with(leaf_of)


def without(
    oid: x509.ObjectIdentifier, *instead: tuple[x509.ExtensionType, bool]
) -> Callable[[x509.CertificateBuilder], x509.CertificateBuilder]:
    def change(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        builder._extensions = [item for item in builder._extensions if item.oid != oid]
        for extension, critical in instead:
            builder = builder.add_extension(extension, critical)
        return builder

    return change


EKU, SAN = x509.ExtendedKeyUsage, x509.SubjectAlternativeName
PURPOSES = x509.oid.ExtendedKeyUsageOID
MY_NAME, HIS_NAME = x509.RFC822Name(NAME), MALLORY
LEAVES: dict[str, tuple[Any, type[CountermarkError], str]] = {
    "no purpose": (without(EKU.oid), ChainInvalid, "another purpose"),
    "for web servers": (
        without(EKU.oid, (EKU([PURPOSES.SERVER_AUTH]), False)), ChainInvalid, "another purpose",
    ),
    "for anything": (
        without(EKU.oid, (EKU([PURPOSES.ANY_EXTENDED_KEY_USAGE]), False)),
        ChainInvalid, "another purpose",
    ),
    "for timestamps": (
        without(EKU.oid, (EKU([PURPOSES.TIME_STAMPING]), True)), ChainInvalid, "another purpose",
    ),
    "two names": (
        without(SAN.oid, (SAN([MY_NAME, HIS_NAME]), True)), IdentityMismatch, "2 names",
    ),
    "my name twice": (
        without(SAN.oid, (SAN([MY_NAME, MY_NAME]), True)), IdentityMismatch, "2 names",
    ),
    "no name": (without(SAN.oid), IdentityMismatch, "0 names"),
    "a directory name": (
        without(SAN.oid, (SAN([x509.DirectoryName(common_name(NAME))]), True)),
        FormatError, "unknown kind",
    ),
    "a name that goes on": (
        without(SAN.oid, (SAN([x509.UniformResourceIdentifier(NAME + "\0.evil.org")]), True)),
        IdentityMismatch, "identity is",
    ),
    "a name in capitals": (
        without(SAN.oid, (SAN([x509.RFC822Name("ME@example.org")]), True)),
        IdentityMismatch, "identity is",
    ),
    "otherName of some other type": (
        without(SAN.oid, (SAN([x509.OtherName(SCT_LIST, b"\x04\x01x")]), True)),
        FormatError, "DER tag",
    ),
    "no issuer": (
        lambda builder: without(fulcio(8, b"").oid)(without(fulcio(1, b"").oid)(builder)),
        IdentityMismatch, "issuer is ''",
    ),
    "two issuers": (
        without(fulcio(8, b"").oid, (fulcio(8, utf8("https://evil.example")), False)),
        IdentityMismatch, "two different issuers",
    ),
    "an issuer that is not DER": (
        without(fulcio(8, b"").oid, (fulcio(8, ISSUER.encode()), False)), FormatError, "DER",
    ),
    "an empty issuer": (
        without(fulcio(1, b"").oid, (fulcio(1, b""), False)), FormatError, "is empty",
    ),
    "a poison": (
        lambda builder: builder.add_extension(x509.PrecertPoison(), True),
        ChainInvalid, "not understood",
    ),
    "critical name constraints": (
        lambda builder: builder.add_extension(
            x509.NameConstraints([x509.RFC822Name("example.com")], None), True
        ),
        ChainInvalid, "not understood",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "why"), LEAVES.values(), ids=LEAVES)
def test_leaves_that_say_something_else(
    change: Any, error: type[CountermarkError], why: str
) -> None:
    refused(why, reissued(change), error)


def test_the_leaf_of_the_last_test_is_otherwise_good() -> None:
    assert check(reissued(lambda builder: builder))


def chain(*issuers: x509.Certificate, validity: Validity = EVER) -> TrustedRoot:
    item = CertificateAuthority("o", "ca", "https://ca", tuple(map(to_der, issuers)), validity)
    return ROOT._replace(certificate_authorities=(item,))


def test_chains_that_do_not_hold() -> None:
    bundle = FORGE.bundle()
    root_key, key = FORGE.ca_root_key, FORGE.ca_key

    def issuer(**how: Any) -> x509.Certificate:
        return authority("ca", key, "ca root", root_key, **how)

    assert check(bundle, chain(issuer(path_length=0), FORGE.ca_root))
    middle_key = ec.generate_private_key(ec.SECP256R1())
    low = authority("ca", key, "middle", middle_key)
    middle = authority("middle", middle_key, "ca root", root_key)
    assert check(bundle, chain(low, middle, FORGE.ca_root))
    narrow = authority("middle", middle_key, "ca root", root_key, path_length=0)
    renamed = authority("ca root", root_key, "ca root", root_key)
    lost = authority("other root", root_key, "other root", root_key)
    refused("path is longer", bundle, ChainInvalid, root=chain(low, narrow, FORGE.ca_root))
    refused("another name", bundle, ChainInvalid, root=chain(FORGE.ca, lost))
    refused("another name", bundle, ChainInvalid, root=chain(low, FORGE.ca_root))
    assert check(bundle, chain(FORGE.ca, renamed))  # an anchor is a name and a key
    usage = issuer(purpose=PURPOSES.SERVER_AUTH)
    refused("excludes this purpose", bundle, ChainInvalid, root=chain(usage, FORGE.ca_root))
    past = (NOW - timedelta(days=9), NOW - SECOND)
    refused("was not valid", bundle, ChainInvalid, root=chain(issuer(valid=past), FORGE.ca_root))
    for validity in (Validity(NOW + SECOND), Validity(NOW - 2 * SECOND, NOW - SECOND)):
        refused("another time", bundle, ChainInvalid,
                root=chain(FORGE.ca, FORGE.ca_root, validity=validity))  # fmt: skip
    assert check(bundle, chain(FORGE.ca, FORGE.ca_root, validity=Validity(NOW, NOW)))


def test_all_proven_times_count() -> None:
    """One good time does not excuse another."""
    end = NOW + timedelta(minutes=10)
    bundle = FORGE.bundle(stamped_at=end)
    assert check(bundle, chain(FORGE.ca, FORGE.ca_root, validity=Validity(NOW, end)))
    refused("another time", bundle, ChainInvalid,
            root=chain(FORGE.ca, FORGE.ca_root, validity=Validity(NOW, end - SECOND)))  # fmt: skip


def with_sct(item_of: Callable[[bytes], bytes]) -> Bundle:
    def leaf_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        forged = Forge()
        forged.ca_key = FORGE.ca_key
        forged.sct = lambda tbs, at, extensions=b"": item_of(tbs)  # type: ignore[method-assign]
        return forged.leaf(key, Plan())

    return signed_with(leaf_of)


def test_scts_of_another_certificate_or_log() -> None:
    assert check(with_sct(lambda tbs: FORGE.sct(tbs, NOW)))
    refused("does not verify", with_sct(lambda tbs: FORGE.sct(b"another", NOW)), SCTInvalid)
    refused("0 trusted", with_sct(lambda tbs: STRANGER.sct(tbs, NOW)), SCTInvalid)
    lie = Forge()
    lie.ca_key, lie.ct_id = FORGE.ca_key, FORGE.ct_id  # another key under our log's id
    refused("does not verify", with_sct(lambda tbs: lie.sct(tbs, NOW)), SCTInvalid)
    other_issuer = Forge()
    other_issuer.ct_key, other_issuer.ct_id = FORGE.ct_key, FORGE.ct_id
    refused("does not verify", with_sct(lambda tbs: other_issuer.sct(tbs, NOW)), SCTInvalid)
    refused("0 trusted|states no", with_sct(lambda tbs: FORGE.sct(tbs, NOW)[:33] + b"\xff" * 8
            + FORGE.sct(tbs, NOW)[41:]), CountermarkError)  # fmt: skip


def test_scts_at_both_ends_of_the_logs_time() -> None:
    bundle = FORGE.bundle()

    def window(start: datetime, end: datetime) -> TrustedRoot:
        logs = tuple(log._replace(validity=Validity(start, end)) for log in ROOT.ctlogs)
        return ROOT._replace(ctlogs=logs)

    assert check(bundle, window(NOW, NOW))
    refused("0 trusted", bundle, SCTInvalid, root=window(NOW + SECOND, NOW + 2 * SECOND))
    refused("0 trusted", bundle, SCTInvalid, root=window(NOW - 2 * SECOND, NOW - SECOND))
