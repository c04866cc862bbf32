# SPDX-License-Identifier: Apache-2.0
"""Our certificate reader against certificates that `cryptography` made and reads."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    KEY_USAGE_CERT_SIGN,
    KEY_USAGE_DIGITAL_SIGNATURE,
    OID_SCT_LIST,
    Certificate,
    Extension,
    GeneralName,
    parse_pem_certificates,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError, SignatureInvalid
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import to_der, utf8

FORGE = Forge()


def leaf(**changes: object) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    return FORGE.leaf(key, Plan(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [leaf(), FORGE.ca, FORGE.ca_root, FORGE.tsa], ids=repr)
def test_reads_what_cryptography_reads(made: x509.Certificate) -> None:
    ours = Certificate.parse(to_der(made))
    assert ours.version == 3
    assert ours.serial == made.serial_number
    assert ours.signature_algorithm == made.signature_algorithm_oid.dotted_string
    assert ours.issuer == made.issuer.public_bytes()
    assert ours.subject == made.subject.public_bytes()
    assert (ours.not_before, ours.not_after) == (
        made.not_valid_before_utc,
        made.not_valid_after_utc,
    )
    assert ours.spki == made.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert ours.tbs == made.tbs_certificate_bytes
    assert ours.signature == made.signature
    assert [(item.oid, item.critical) for item in ours.extensions] == [
        (item.oid.dotted_string, item.critical) for item in made.extensions
    ]
    assert ours.to_pem() == made.public_bytes(Encoding.PEM).decode()


def test_takes_an_extension_out_as_cryptography_does() -> None:
    made = leaf(scts=2)
    ours = Certificate.parse(to_der(made))
    assert ours.tbs_without(OID_SCT_LIST) == made.tbs_precertificate_bytes
    with pytest.raises(FormatError, match=r"has no extension 1\.2\.3"):
        ours.tbs_without("1.2.3")


def test_the_only_extension_leaves_none() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 5)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2050, 1, 1, tzinfo=UTC))
    )
    bare = Certificate.parse(to_der(builder.sign(key, hashes.SHA256())))
    one = builder.add_extension(x509.OCSPNoCheck(), critical=False).sign(key, hashes.SHA256())
    without = Certificate.parse(to_der(one)).tbs_without("1.3.6.1.5.5.7.48.1.5")
    assert without == bare.tbs
    assert bare.not_after == datetime(2050, 1, 1, tzinfo=UTC)  # a GeneralizedTime


def test_says_what_it_is_for() -> None:
    ca, signer = Certificate.parse(to_der(FORGE.ca)), Certificate.parse(to_der(leaf()))
    assert ca.basic_constraints() == (True, 0)
    assert Certificate.parse(to_der(FORGE.ca_root)).basic_constraints() == (True, None)
    assert signer.basic_constraints() == (False, None)
    assert ca.has_key_usage(KEY_USAGE_CERT_SIGN) is True
    assert ca.has_key_usage(KEY_USAGE_DIGITAL_SIGNATURE) is False
    assert signer.has_key_usage(KEY_USAGE_DIGITAL_SIGNATURE) is True
    assert signer.extended_key_usages() == (EKU_CODE_SIGNING,)
    root = Certificate.parse(to_der(FORGE.ca_root))
    assert root.extended_key_usages() is None
    assert root.is_self_issued
    assert not signer.is_self_issued


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (x509.RFC822Name("me@example.org"), GeneralName("email", "me@example.org")),
        (
            x509.UniformResourceIdentifier("https://e.org/a@b"),
            GeneralName("uri", "https://e.org/a@b"),
        ),
        (x509.DNSName("e.org"), GeneralName("dns", "e.org")),
        (
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), utf8("foo!oidc.löcal")),
            GeneralName("1.3.6.1.4.1.57264.1.7", "foo!oidc.löcal"),
        ),
    ],
    ids=["email", "uri", "dns", "otherName"],
)
def test_reads_names(name: x509.GeneralName, expected: GeneralName) -> None:
    assert Certificate.parse(to_der(leaf(name=name))).subject_alternative_names() == (expected,)


def test_refuses_names_of_kinds_that_sigstore_has_not() -> None:
    made = leaf(name=x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))
    with pytest.raises(FormatError, match="unknown kind"):
        Certificate.parse(to_der(made)).subject_alternative_names()


def test_signatures_are_checked() -> None:
    signer, ca = Certificate.parse(to_der(leaf())), Certificate.parse(to_der(FORGE.ca))
    signer.verify_signature(ca.public_key)
    ca.verify_signature(Certificate.parse(to_der(FORGE.ca_root)).public_key)
    with pytest.raises(SignatureInvalid):
        ca.verify_signature(ca.public_key)
    rsa_key = rsa.generate_private_key(65537, 2048)
    spki = rsa_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(AlgorithmRefused, match="makes no ECDSA signatures"):
        signer.verify_signature(PublicKey.from_spki(spki))


def test_rsa_issuers_work() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 5)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA384())
    )
    ours = Certificate.parse(to_der(made))
    ours.verify_signature(ours.public_key)


def rebuilt(*fields: bytes, extensions: bytes | None = None) -> bytes:
    """A certificate around other TBS fields, unsigned."""
    algorithm = der.sequence(der.oid("1.2.840.10045.4.3.2"))
    tail = () if extensions is None else (der.encode(der.context(3), extensions),)
    tbs = der.sequence(*fields, *tail)
    return der.sequence(tbs, algorithm, der.bit_string(b"sig"))


def tbs_fields() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    algorithm = der.sequence(der.oid("1.2.840.10045.4.3.2"))
    time = der.x509_time(datetime(2020, 1, 1, tzinfo=UTC))
    return [
        der.encode(der.context(0), der.integer(2)),
        der.integer(1),
        algorithm,
        der.sequence(),
        der.sequence(time, time),
        der.sequence(),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]


def extension(*parts: bytes) -> bytes:
    return der.sequence(der.oid("1.2.3"), *parts, der.octet_string(b"x"))


def test_the_rebuilt_certificate_is_well_formed() -> None:
    data = rebuilt(*tbs_fields(), extensions=der.sequence(extension()))
    parsed = (Extension("1.2.3", False, b"x", extension()),)
    assert Certificate.parse(data).extensions == parsed


@pytest.mark.parametrize(
    ("position", "value", "why"),
    [
        (0, der.encode(der.context(0), der.integer(0)), "version 1 is unknown"),
        (0, der.encode(der.context(0), der.integer(3)), "version 4 is unknown"),
        (0, der.encode(der.context(0), der.integer(1)), "not version 3"),
        (2, der.sequence(der.oid("1.2.840.10045.4.3.3")), "two different"),
        (3, der.set_of(), "tag is 0x31"),
        (4, der.sequence(der.integer(1), der.integer(1)), "time is malformed"),
    ],
)
def test_refuses_malformed_fields(position: int, value: bytes, why: str) -> None:
    fields = tbs_fields()
    fields[position] = value
    with pytest.raises(FormatError, match=why):
        Certificate.parse(rebuilt(*fields, extensions=der.sequence(extension())))


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ((extension(), extension()), "twice"),
        ((extension(der.boolean(False)),), "malformed critical flag"),
        ((extension(b"\x01\x01\x01"),), "malformed critical flag"),
        ((extension(der.integer(1)),), "malformed extension"),
        ((extension() + b"\x00",), "ends early"),
        ((der.set_of(),), "malformed extension|ends early"),
        ((der.sequence(der.oid("1.2.3"), der.octet_string(b"x"), b"\x05\x00"),), "malformed ext"),
    ],
)
def test_refuses_malformed_extensions(extensions: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(FormatError, match=why):
        Certificate.parse(rebuilt(*tbs_fields(), extensions=der.sequence(*extensions)))


def test_refuses_what_surrounds_it() -> None:
    data = to_der(FORGE.ca)
    for bad in (data + b"\x00", data[:-1], b"", bytes(65 * 1024)):
        with pytest.raises(FormatError):
            Certificate.parse(bad)


def test_reads_pem_chains_in_order() -> None:
    pems = [made.public_bytes(Encoding.PEM).decode() for made in (FORGE.ca, FORGE.ca_root)]
    chain = parse_pem_certificates("\n".join(pems))
    assert [item.der for item in chain] == [to_der(FORGE.ca), to_der(FORGE.ca_root)]
    with pytest.raises(FormatError, match="PUBLIC KEY"):
        parse_pem_certificates(chain[0].public_key.to_pem())


def test_an_algorithm_is_an_identifier_and_perhaps_null() -> None:
    """More was read past, inside and outside alike; found beside `cryptography.x509`."""
    data = to_der(FORGE.ca)
    name = der.oid("1.2.840.10045.4.3.3")  # ECDSA with SHA-384, as the CA's own certificate
    assert data.count(der.sequence(name)) == 2
    for parameters, why in (
        (der.NULL_VALUE, ""),
        (der.NULL_VALUE * 2, "trailing bytes"),
        (name, "has parameters"),
    ):
        _, start, end = der.header(data, 0, len(data), "certificate")
        content = data[start:end].replace(der.sequence(name), der.sequence(name, parameters))
        _, tbs_start, tbs_end = der.header(content, 0, len(content), "certificate")
        extra = len(parameters)
        tbs = data[start : start + 4]
        inner = content[len(tbs) : tbs_end + extra]
        changed = der.sequence(der.sequence(inner), content[tbs_end + extra :])
        if not why:
            assert Certificate.parse(changed).signature_algorithm == "1.2.840.10045.4.3.3"
        else:
            with pytest.raises(FormatError, match=why):
                Certificate.parse(changed)
        assert tbs_start == len(tbs)
