# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime
from hashlib import new, sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import ChainInvalid
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest, message_imprint
from countermark.core.tsp.token import Draft, TokenTemplate
from tests.support.timestamps import make_authority

AUTHORITY = make_authority(ec.generate_private_key(ec.SECP256R1()))
LEAF = Certificate.parse(AUTHORITY.chain[0])
TIME = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
REQUEST = TimestampRequest("sha256", bytes(32), 77, certificates=True)


def draft(request: TimestampRequest = REQUEST) -> Draft:
    template = TokenTemplate(LEAF, policy=SIGSTORE_POLICY)
    return template.draft(request, serial=0xABCDEF, time=TIME)


def attributes(message: bytes) -> dict[str, bytes]:
    reader = der.decode(message, "attributes", der.SET).reader("attributes")
    found: dict[str, bytes] = {}
    while reader:
        attribute = reader.sequence()
        oid = attribute.oid()
        found[oid] = der.decode(attribute.read(der.SET).content, "value").encoded
    return found


def test_response_layout() -> None:
    """RFC 3161 section 2.4.2 and RFC 5652 section 5, element by element."""
    unsigned = draft()
    response = der.decode(unsigned.with_signature(b"signature"), "response").reader("response")
    assert response.read().encoded == der.sequence(der.integer(0))
    token = response.sequence()
    response.end()
    assert token.oid() == "1.2.840.113549.1.7.2"
    signed = token.read(der.context(0)).reader("signed data").sequence()
    assert signed.integer() == 3
    sha256_algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
    assert signed.read(der.SET).content == sha256_algorithm
    content = signed.sequence()
    assert content.oid() == "1.2.840.113549.1.9.16.1.4"
    info = content.read(der.context(0)).reader("info").read(der.OCTET_STRING).content
    assert signed.read(der.context(0)).content == AUTHORITY.chain[0]
    signer = signed.read(der.SET).reader("signer").sequence()
    signed.end()
    assert signer.integer() == 1
    assert signer.read().encoded == der.sequence(LEAF.issuer, der.integer(LEAF.serial))
    assert signer.read().encoded == sha256_algorithm
    signed_attributes = signer.read(der.context(0)).content
    assert der.encode(der.SET, signed_attributes) == unsigned.message_to_sign
    assert signer.read().encoded == der.sequence(der.oid("1.2.840.10045.4.3.2"))
    assert signer.read(der.OCTET_STRING).content == b"signature"
    signer.end()
    assert attributes(unsigned.message_to_sign)["1.2.840.113549.1.9.4"] == der.octet_string(
        sha256(info).digest()
    )
    name = der.encode(der.context(0), der.encode(der.context(4), LEAF.subject))
    assert info == der.sequence(
        der.integer(1),
        der.oid(SIGSTORE_POLICY),
        message_imprint("sha256", bytes(32)),
        der.integer(0xABCDEF),
        b"\x18\x0f20260304050607Z",
        der.sequence(der.integer(1)),
        der.integer(77),
        name,
    )


def test_signed_attributes() -> None:
    found = attributes(draft().message_to_sign)
    assert sorted(found) == [
        "1.2.840.113549.1.9.16.2.47",
        "1.2.840.113549.1.9.3",
        "1.2.840.113549.1.9.4",
        "1.2.840.113549.1.9.5",
    ]
    assert found["1.2.840.113549.1.9.3"] == der.oid("1.2.840.113549.1.9.16.1.4")
    assert found["1.2.840.113549.1.9.5"] == b"\x17\x0d260304050607Z"


def test_attributes_are_in_der_order() -> None:
    reader = der.decode(draft().message_to_sign, "attributes").reader("attributes")
    encoded = []
    while reader:
        encoded.append(reader.read().encoded)
    assert encoded == sorted(encoded)


@pytest.mark.parametrize(("name", "length"), [("sha256", 32), ("sha384", 48), ("sha512", 64)])
def test_the_certificate_is_named_by_the_request_s_hash(name: str, length: int) -> None:
    """As upstream does it; SHA-256 is the default and left out (RFC 5816)."""
    found = attributes(draft(TimestampRequest(name, bytes(length))).message_to_sign)
    value = der.decode(found["1.2.840.113549.1.9.16.2.47"], "value").reader("value")
    identifier = value.sequence().sequence()
    algorithm = identifier.optional(der.SEQUENCE)
    assert (algorithm is None) == (name == "sha256")
    digest = identifier.read(der.OCTET_STRING).content
    assert digest == new(name, AUTHORITY.chain[0]).digest()
    issuer = der.sequence(der.encode(der.context(4), LEAF.issuer))
    assert identifier.read().encoded == der.sequence(issuer, der.integer(LEAF.serial))


def test_without_nonce_and_certificates() -> None:
    response = draft(TimestampRequest("sha256", bytes(32))).with_signature(b"s")
    assert AUTHORITY.chain[0] not in response
    assert der.integer(77) + b"\xa0" not in response


@pytest.mark.parametrize(
    ("critical", "purposes"),
    [
        (False, (ExtendedKeyUsageOID.TIME_STAMPING,)),
        (True, (ExtendedKeyUsageOID.CODE_SIGNING,)),
        (True, (ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)),
    ],
)
def test_refuses_certificates_that_no_verifier_takes(
    critical: bool, purposes: tuple[ObjectIdentifier, ...]
) -> None:
    authority = make_authority(critical=critical, purposes=purposes)
    with pytest.raises(ChainInvalid, match="time stamping alone"):
        TokenTemplate(Certificate.parse(authority.chain[0]), policy="1.2")


def test_refuses_a_ca_s_certificate() -> None:
    with pytest.raises(ChainInvalid, match="CA"):
        TokenTemplate(Certificate.parse(AUTHORITY.chain[1]), policy="1.2")
