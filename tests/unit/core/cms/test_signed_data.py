# SPDX-License-Identifier: Apache-2.0
"""What the reader of CMS refuses: all that DER, or a Git signature, would not have."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256 as HASH
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from countermark.core.cms.signed_data import (
    MAX_SIGNATURE_BYTES,
    OID_MESSAGE_DIGEST,
    parse_signed_data,
)
from countermark.core.cms.write import attribute, git_signature
from countermark.core.crypto import der
from countermark.core.errors import FormatError
from tests.support.cms import (
    DATA,
    PAYLOAD,
    SHA256,
    SHA384,
    SIGNED_DATA,
    Parts,
    attributes,
    bundle,
)
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import tlv
from tests.support.peers import on_path

FORGE = Forge()
MADE = bundle(FORGE, attributes())
GOOD = Parts.of(MADE, attributes())


def test_what_is_good() -> None:
    read = parse_signed_data(GOOD.der())
    assert read.certificates == (GOOD.leaf.der,)
    assert (read.issuer, read.serial) == (GOOD.leaf.issuer, GOOD.leaf.serial)
    assert (read.hash_name, read.key_kind) == ("sha256", "ECDSA")
    assert read.signed_bytes == attributes()
    assert read.signature == MADE.signature
    assert len(read.unsigned) == 1


def elements(*, order: tuple[int, ...]) -> bytes:
    """The signed attributes in another order; 0, 1, 2 is DER's."""
    items = [item.encoded for item in _read(attributes())]
    return tlv(0x31, b"".join(items[number] for number in order))


def _read(data: bytes) -> list[der.Element]:
    reader = der.decode(data, "attributes", der.SET).reader("attributes")
    found = []
    while reader:
        found.append(reader.read())
    return found


SHA256_ALGORITHM = der.sequence(der.oid(SHA256))
DIGEST_TWICE = attribute(OID_MESSAGE_DIGEST, der.octet_string(b"1"), der.octet_string(b"2"))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (GOOD.but(content_type=der.oid(DATA)), "not CMS signed data"),
        (GOOD.but(version=3), "version 1"),
        (GOOD.but(digests=()), "empty set"),
        (GOOD.but(digests=(der.sequence(der.oid(SHA384)),)), "does not list its signer's"),
        (GOOD.but(digests=(der.sequence(der.oid("1.3.14.3.2.26")),)), "is not allowed"),
        (GOOD.but(digests=(SHA256_ALGORITHM,) * 65), "more than 64"),
        (GOOD.but(encapsulated=der.sequence(der.oid(SIGNED_DATA))), "another type of content"),
        (
            GOOD.but(
                encapsulated=der.sequence(der.oid(DATA), tlv(0xA0, der.octet_string(PAYLOAD)))
            ),
            "content of its own",
        ),
        (GOOD.but(certificates=(GOOD.leaf.der,) * 11), "more than 10 certificates"),
        (GOOD.but(certificates=(tlv(0xA1, b""),)), "instead of 0x30"),
        (GOOD.but(after_certificates=tlv(0xA1, b"")), "instead of 0x31"),
        (GOOD.but(signer_version=3), "something else than issuer and serial"),
        (GOOD.but(signers=2), "more than one signer"),
        (GOOD.but(signers=0), "ends early"),
        (GOOD.but(after=der.NULL_VALUE), "trailing"),
        (GOOD.but(digest=der.sequence(der.oid(SHA256), der.integer(1))), "trailing"),
        (GOOD.but(digest=der.sequence(der.oid(SHA256), b"\x05\x01\x00")), "NULL that is not"),
        (GOOD.but(algorithm=der.sequence(der.oid("1.3.101.112"))), "is not allowed"),
        (GOOD.but(algorithm=der.sequence(der.oid("1.2.840.10045.4.3.3"))), "two different hash"),
        (GOOD.but(signed=elements(order=(1, 0, 2))), "not in DER's order"),
        (GOOD.but(signed=elements(order=(0, 2, 1))), "not in DER's order"),
        (GOOD.but(signed=elements(order=(0, 0, 1, 2))), "twice"),
        (GOOD.but(signed=der.set_of(DIGEST_TWICE)), "twice"),
        (GOOD.but(signed=tlv(0x31, b"")), "empty set"),
        (GOOD.but(signed=tlv(0x31, der.sequence(der.oid(SHA256), tlv(0x31, b"")))), "empty set"),
        (GOOD.but(unsigned=tuple(attribute(f"1.2.{n}", der.NULL_VALUE) for n in range(65))), "64"),
    ],
)
def test_what_is_refused(changed: Parts, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_signed_data(changed.der())


def test_signed_attributes_must_be_there() -> None:
    data = GOOD.der().replace(GOOD.signed[2:], b"")
    with pytest.raises(FormatError):
        parse_signed_data(data)


def test_ber_is_refused() -> None:
    good = GOOD.der()
    assert good[:2] == b"\x30\x82"
    indefinite = b"\x30\x80" + good[4:] + b"\x00\x00"
    with pytest.raises(FormatError, match="indefinite"):
        parse_signed_data(indefinite)
    long_form = b"\x30\x83\x00" + good[2:]
    with pytest.raises(FormatError, match="not minimal"):
        parse_signed_data(long_form)


def test_giants_are_refused_at_once() -> None:
    giant = GOOD.but(unsigned=(attribute("1.2.3", der.octet_string(bytes(MAX_SIGNATURE_BYTES))),))
    with pytest.raises(FormatError, match="is larger than"):
        parse_signed_data(giant.der())


def test_unsigned_attributes_may_stand_in_any_order() -> None:
    others = (attribute("1.2.4", der.NULL_VALUE), attribute("1.2.3", der.NULL_VALUE))
    read = parse_signed_data(GOOD.but(unsigned=others).der())
    assert [oid for oid, _ in read.unsigned] == ["1.2.4", "1.2.3"]


def test_reads_what_cryptography_writes() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    leaf = FORGE.leaf(key, Plan())
    builder = pkcs7.PKCS7SignatureBuilder().set_data(PAYLOAD).add_signer(leaf, key, HASH())
    options = [
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.NoCapabilities,
    ]
    read = parse_signed_data(builder.sign(Encoding.DER, options))
    assert read.attributes[OID_MESSAGE_DIGEST] == der.octet_string(_sha256(PAYLOAD))
    assert isinstance(leaf, x509.Certificate)


def _sha256(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


@pytest.mark.interop
def test_openssl_verifies_what_we_write(tmp_path: Path) -> None:
    armoured = git_signature(attributes(), MADE).replace("SIGNED MESSAGE", "CMS")
    (tmp_path / "signature").write_text(armoured)
    (tmp_path / "payload").write_bytes(PAYLOAD)
    done = subprocess.run(
        [
            *(on_path("openssl"), "cms", "-verify", "-inform", "PEM", "-in", "signature"),
            *("-content", "payload", "-binary", "-noverify"),
        ],
        cwd=tmp_path,
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, PAYLOAD), done.stderr
