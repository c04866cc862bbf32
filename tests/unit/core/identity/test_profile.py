# SPDX-License-Identifier: Apache-2.0
"""The profile against real Fulcio certificates: rebuilt from their parts, byte for byte."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import SubjectKeyIdentifier

from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate
from countermark.core.ct.precert import POISON_EXTENSION, sct_list_extension
from countermark.core.errors import FormatError, InvariantBroken
from countermark.core.identity.claims import (
    CertificateIdentity,
    NameType,
    certificate_identity,
    principal_from_token,
)
from countermark.core.identity.profile import (
    FULCIO_ARC,
    IssuerProfile,
    LeafTemplate,
    serial_from,
    signature_algorithm,
    subject_key_id,
)
from countermark.core.identity.token import VerifiedToken
from tests.support.authority import spki
from tests.support.vectors import vectors

ISSUER = IssuerProfile(der.sequence(), bytes(20), "PKIX_ECDSA_P384_SHA_384")
REAL = [
    "happy-path-v0.1",
    "happy-path-v0.3-new-mediaType",
    "rekor2-timestamp-without-embedded-cert",
    "bundle-with-root-cert_fail",
]


def bundle_leaf(name: str) -> bytes:
    """The signing certificate of a real bundle, DER."""
    bundle = json.loads(vectors("bundle-verify", name, "bundle.sigstore.json").read_bytes())
    material = bundle["verificationMaterial"]
    if "certificate" in material:
        return base64.b64decode(material["certificate"]["rawBytes"])
    return base64.b64decode(material["x509CertificateChain"]["certificates"][0]["rawBytes"])


def template(identity: CertificateIdentity, key: bytes = b"") -> LeafTemplate:
    key = key or spki(ec.generate_private_key(ec.SECP256R1()))
    return LeafTemplate.for_identity(
        identity, key, subject_key_id(key), ISSUER, serial=1, not_before_s=1_700_000_000
    )


@pytest.mark.vectors
@pytest.mark.parametrize("name", REAL)
def test_real_certificate_is_rebuilt_byte_for_byte(name: str) -> None:
    real = Certificate.parse(bundle_leaf(name))
    values = {extension.oid: extension.value for extension in real.extensions}
    extensions = []
    for oid, value in values.items():
        if oid.startswith(f"{FULCIO_ARC}."):
            number = int(oid.rpartition(".")[2])
            text = value if number < 7 else der.decode(value, "x", der.UTF8_STRING).content
            extensions.append((number, text.decode()))
    (san,) = real.subject_alternative_names()
    kind: NameType = "email" if san.kind == "email" else "uri"
    authority = der.decode(values["2.5.29.35"], "authority key id").content
    rebuilt = LeafTemplate.for_identity(
        CertificateIdentity(kind, san.value, tuple(sorted(extensions))),
        real.spki,
        subject_key_id(real.spki),
        IssuerProfile(real.issuer, authority[2:], ISSUER.key_details),
        serial=real.serial,
        not_before_s=int(real.not_before.timestamp()),
    )
    sct_list = der.decode(values[OID_SCT_LIST], "SCT list", der.OCTET_STRING).content
    final = rebuilt.tbs(sct_list_extension(sct_list))
    assert final == real.tbs
    assert rebuilt.tbs() == real.tbs_without(OID_SCT_LIST)
    assert rebuilt.certificate(final, real.signature) == real.der


@pytest.mark.vectors
@pytest.mark.parametrize("name", REAL[:3])
def test_real_githubs_claims_give_the_real_extensions(name: str) -> None:
    real = Certificate.parse(bundle_leaf(name))
    found = {
        int(extension.oid.rpartition(".")[2]): extension.value
        for extension in real.extensions
        if extension.oid.startswith(f"{FULCIO_ARC}.")
    }
    text = {
        number: (value if number < 7 else der.decode(value, "x").content).decode()
        for number, value in found.items()
    }

    def below_github(number: int) -> str:
        return text[number].removeprefix("https://github.com/")

    run = text[21].split("/")
    claims = {
        "sub": "",
        "event_name": text[20],
        "sha": text[13],
        "workflow": text[4],
        "repository": text[5],
        "ref": text[14],
        "job_workflow_ref": below_github(9),
        "job_workflow_sha": text[10],
        "runner_environment": text[11],
        "repository_id": text[15],
        "repository_owner": below_github(16),
        "repository_owner_id": text[17],
        "workflow_ref": below_github(18),
        "workflow_sha": text[19],
        "run_id": run[-3],
        "run_attempt": run[-1],
        "repository_visibility": text.get(22, "public"),
    }
    token = VerifiedToken(text[8], "github-workflow", {**claims, "sub": "repo:x"})
    identity = certificate_identity(principal_from_token(token))
    (san,) = real.subject_alternative_names()
    assert identity.san_value == san.value
    newer = {22, 23, 24} - set(text)  # added to Fulcio since the certificate was made
    assert {n: t for n, t in identity.extensions if n not in newer} == text


def test_precertificate_differs_in_its_last_extension_only() -> None:
    identity = CertificateIdentity("email", "ann@example.com", ((1, "i"), (8, "i")))
    made = template(identity)
    poisoned = Certificate.parse(made.certificate(made.tbs(POISON_EXTENSION), b"s"))
    final = Certificate.parse(made.certificate(made.tbs(sct_list_extension(b"list")), b"s"))
    plain = made.tbs()
    assert poisoned.tbs_without("1.3.6.1.4.1.11129.2.4.3") == plain
    assert final.tbs_without(OID_SCT_LIST) == plain
    assert poisoned.extensions[-1].critical
    assert final.extensions[-1].value == b"\x04\x04list"


def test_encoding_of_old_and_new_extensions() -> None:
    identity = CertificateIdentity("uri", "https://x", ((1, "é"), (6, "ref"), (8, "é")))
    made = template(identity)
    parsed = Certificate.parse(made.certificate(made.tbs(), b"s"))
    values = {extension.oid: extension.value for extension in parsed.extensions}
    assert values[f"{FULCIO_ARC}.1"] == "é".encode()
    assert values[f"{FULCIO_ARC}.6"] == b"ref"
    assert values[f"{FULCIO_ARC}.8"] == b"\x0c\x02" + "é".encode()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_subject_key_id_is_rfc_5280s_first_method(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    assert (
        subject_key_id(spki(key)) == SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    )


def test_what_is_no_key() -> None:
    with pytest.raises(FormatError):
        subject_key_id(b"\x30\x00")


@pytest.mark.parametrize(
    ("entropy", "serial"),
    [
        (b"\xff" * 20, 2**159 - 1),
        (bytes(20), 1),  # RFC 5280 section 4.1.2.2: positive
        (bytes(19) + b"\x08", 4),
    ],
)
def test_serials_are_positive_and_fit(entropy: bytes, serial: int) -> None:
    assert serial_from(entropy) == serial
    assert len(der.integer(serial)) <= 22


def test_serial_needs_enough_randomness() -> None:
    with pytest.raises(InvariantBroken):
        serial_from(b"short")


@pytest.mark.parametrize(
    ("details", "oid"),
    [
        ("PKIX_ECDSA_P256_SHA_256", "1.2.840.10045.4.3.2"),
        ("PKIX_ECDSA_P384_SHA_384", "1.2.840.10045.4.3.3"),
        ("PKIX_ECDSA_P521_SHA_512", "1.2.840.10045.4.3.4"),
        ("PKIX_RSA_PKCS1V15_4096_SHA256", "1.2.840.113549.1.1.11"),
        ("PKIX_ED25519", "1.3.101.112"),
    ],
)
def test_signature_algorithms(details: str, oid: str) -> None:
    reader = der.decode(signature_algorithm(details), "algorithm").reader("algorithm")
    assert reader.oid() == oid
    assert bool(reader) == ("RSA" in details)  # NULL parameters for RSA, none for the others
