# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates in entries: canonical PEM, chains, names."""

import base64
import hashlib
import ipaddress
import time
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier

from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import decode_pem, encode_pem
from countermark.core.errors import ChainInvalid
from countermark.core.rekor.chain import check_chain
from countermark.core.rekor.entry import EntryRejected, search_key
from countermark.core.rekor.hashedrekord_proposal import parse_proposal
from countermark.core.rekor.verifiers import read_verifier
from tests.support.rekor import (
    Issuer,
    SigningKey,
    certificate,
    encode,
    hashedrekord_spec,
    pem_of,
)

KEY = SigningKey.new()
ROOT = Issuer.new()
LEAF = certificate(KEY, [x509.RFC822Name("Anne@Example.com")], issuer=ROOT)


@pytest.mark.parametrize(
    "dressed",
    [
        "\n\n  {}  \n",
        "some text that openssl prints\n{}",
        "{}".replace("{}", "\r\n{}\r\n"),
    ],
)
def test_one_key_has_one_spelling(dressed: str) -> None:
    for pem in (KEY.pem, pem_of(LEAF)):
        assert read_verifier(dressed.format(pem).encode()).pem == pem
        crlf = dressed.format(pem).replace("\r", "").replace("\n", "\r\n")
        assert read_verifier(crlf.encode()).pem == pem
        label, data = decode_pem(pem, "PEM")
        assert data
        unfolded = f"-----BEGIN {label}-----\n{''.join(pem.split(chr(10))[1:-2])}\n"
        assert read_verifier(f"{unfolded}-----END {label}-----".encode()).pem == pem
        headers = pem.replace("-----\n", "-----\nComment: dropped\nX-A: b\n\n", 1)
        assert read_verifier(headers.encode()).pem == pem


def test_search_keys_of_a_key() -> None:
    fingerprint = hashlib.sha256(KEY.pem.encode()).hexdigest()
    assert read_verifier(KEY.pem.encode()).search_keys == (search_key(f"sha256:{fingerprint}"),)


def names(*alternatives: x509.GeneralName) -> Sequence[bytes]:
    return read_verifier(pem_of(certificate(KEY, alternatives)).encode()).search_keys[1:]


def test_names_of_a_certificate() -> None:
    fulcio = ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
    assert names(
        x509.RFC822Name("Anne@Example.com"),
        x509.UniformResourceIdentifier("https://example.com/Ref"),
        x509.DNSName("example.com"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.OtherName(fulcio, der.utf8_string("anne!example.com")),
        x509.OtherName(ObjectIdentifier("1.2.3"), der.utf8_string("not indexed")),
        x509.DirectoryName(x509.Name([])),
    ) == tuple(
        search_key(term)
        for term in (
            "anne@example.com",
            "HTTPS://EXAMPLE.COM/REF",
            "example.com",
            "10.0.0.1",
            "2001:db8::1",
            "anne!example.com",
        )
    )


@pytest.mark.parametrize("size", [1, 2, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 300])
def test_one_name_of_any_length(size: int) -> None:
    text = "u" * size
    for kind in (x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name):
        assert names(kind(text)) == (search_key(text),)
    assert names(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))) == (search_key("10.0.0.1"),)


def test_a_name_that_is_no_text() -> None:
    good = certificate(KEY, [x509.DNSName("example.com")]).public_bytes(Encoding.DER)
    bad = good.replace(b"example.com", b"ex\xe4mple.com")
    assert "is not an IA5String" in refusal(encode_pem("CERTIFICATE", bad))


def test_chain_is_kept_whole() -> None:
    pem = pem_of(LEAF, ROOT.certificate)
    verifier = read_verifier(pem.encode())
    assert verifier.pem == pem
    assert len(verifier.certificates) == 2
    assert verifier.key.to_pem() == KEY.pem
    assert verifier.search_keys[1:] == (search_key("anne@example.com"),)


def refusal(pem: str) -> str:
    with pytest.raises(EntryRejected) as caught:
        read_verifier(pem.encode("utf-8"))
    return str(caught.value)


def test_refused() -> None:
    leaf = pem_of(LEAF)
    assert "failure decoding PEM" in refusal("")
    assert "failure decoding PEM" in refusal(KEY.pem + "trailing")
    assert "failure decoding PEM" in refusal(KEY.pem.replace("MFkw", "M=kw"))
    assert "failure decoding PEM" in refusal(KEY.pem.replace("MFkw", "Mé"))
    assert "cannot handle type RSA PUBLIC KEY" in refusal(
        KEY.pem.replace("PUBLIC KEY", "RSA PUBLIC KEY")
    )
    assert "cannot handle type PUBLIC KEY" in refusal(leaf + KEY.pem)
    assert "more than 10 PEM blocks" in refusal(leaf * 11)
    assert "not an X.509 certificate" in refusal(KEY.pem.replace("PUBLIC KEY", "CERTIFICATE"))
    serial = LEAF.serial_number.to_bytes(20)
    encoded = LEAF.public_bytes(Encoding.DER)
    negative = encoded.replace(serial, b"\xff" + serial[1:])
    assert negative != encoded
    assert "serial number that is not positive" in refusal(encode_pem("CERTIFICATE", negative))
    assert "larger than 65536 bytes" in refusal(" " * 65_537)
    assert "invalid public key" in refusal(leaf.replace("CERTIFICATE", "PUBLIC KEY"))


def chain(*certificates: x509.Certificate) -> list[Certificate]:
    return [Certificate.parse(decode_pem(pem_of(item), "PEM")[1]) for item in certificates]


def test_chain_that_is_one() -> None:
    middle_key = SigningKey.new()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "in between")])
    middle = Issuer(middle_key, certificate(middle_key, issuer=ROOT, ca=True, subject=name))
    leaf = certificate(KEY, issuer=middle)
    check_chain(chain(leaf, middle.certificate, ROOT.certificate))
    check_chain(chain(LEAF, middle.certificate, ROOT.certificate))  # the root issued it itself


def test_chain_that_is_none() -> None:
    other = Issuer.new()
    for bad in (
        chain(LEAF, other.certificate),
        chain(LEAF, ROOT.certificate, other.certificate),
        chain(LEAF, LEAF),
        chain(certificate(SigningKey.new(), issuer=Issuer(KEY, LEAF)), LEAF),
    ):
        with pytest.raises(ChainInvalid):
            check_chain(bad)


def test_chain_is_judged_when_the_leaf_was_issued() -> None:
    early = certificate(KEY, issuer=ROOT, start=ROOT.certificate.not_valid_before_utc.replace(2020))
    with pytest.raises(ChainInvalid, match="not valid when it issued"):
        check_chain(chain(early, ROOT.certificate))


def test_path_length() -> None:
    key = SigningKey.new()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issues no authorities")])
    limited = Issuer(key, certificate(key, ca=True, subject=name, path_length=0))
    middle_key = SigningKey.new()
    middle = Issuer(middle_key, certificate(middle_key, issuer=limited, ca=True))
    leaf = certificate(KEY, issuer=middle)
    with pytest.raises(ChainInvalid, match="path is longer"):
        check_chain(chain(leaf, middle.certificate, limited.certificate))
    check_chain(chain(certificate(KEY, issuer=limited), limited.certificate))


def test_chain_in_an_entry() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    pem = pem_of(LEAF, ROOT.certificate)
    entry = parse_proposal(encode(hashedrekord_spec(pem, KEY.sign(b"x"), digest)))
    assert base64.b64encode(pem.encode()) in entry.body
    strange = pem_of(LEAF, Issuer.new().certificate)
    spec = hashedrekord_spec(strange, KEY.sign(b"x"), digest)
    with pytest.raises(EntryRejected, match="verifying signature: x509: certificate signed by"):
        parse_proposal(encode(spec))


def test_long_chains_are_read_but_not_remembered() -> None:
    names = [x509.DNSName(f"{number:03}.example.com") for number in range(500)]
    pem = pem_of(certificate(KEY, names))
    assert len(pem) > 8 * 1024
    assert len(read_verifier(pem.encode()).search_keys) == 501
    assert read_verifier(pem.encode()) is not read_verifier(pem.encode())
    assert read_verifier(KEY.pem.encode()) is read_verifier(KEY.pem.encode())


def rebuilt(drop: int | None = None, *, old: bytes = b"", new: bytes = b"") -> str:
    """LEAF with a field of its TBSCertificate left out or some bytes replaced."""
    encoded = LEAF.public_bytes(Encoding.DER).replace(old, new) if old else None
    outer = der.Reader(encoded or LEAF.public_bytes(Encoding.DER), "x").sequence()
    tbs = outer.sequence()
    fields = []
    while tbs:
        fields.append(tbs.read().encoded)
    kept = [field for index, field in enumerate(fields) if index != drop]
    rest = [outer.read().encoded, outer.read().encoded]
    return encode_pem("CERTIFICATE", der.sequence(der.sequence(*kept), *rest))


def test_certificates_of_older_versions() -> None:
    without_extensions = rebuilt(drop=7)
    assert len(read_verifier(without_extensions.encode()).search_keys) == 1
    assert "invalid public key" in refusal(rebuilt(drop=6))


def test_name_that_is_not_ascii() -> None:
    assert "IA5String" in refusal(rebuilt(old=b"Anne@", new=b"Ann\xe9@"))


def test_header_lines_without_an_end_cost_no_more_than_reading_them() -> None:
    start = time.process_time()
    with pytest.raises(EntryRejected, match="failure decoding PEM"):
        read_verifier(b"-----BEGIN CERTIFICATE-----\n" + b"a:\n" * 20_000)
    assert time.process_time() - start < 0.5  # ten seconds, with a pattern that goes back


def test_rsa_exponents_are_short() -> None:
    """Checking with an exponent as long as the modulus takes 200 times as long."""
    modulus = 1 << 3071 | 1

    def key(exponent: int) -> bytes:
        numbers = der.sequence(der.integer(modulus), der.integer(exponent))
        algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL_VALUE)
        return encode_pem("PUBLIC KEY", der.sequence(algorithm, der.bit_string(numbers))).encode()

    read_verifier(key(2**31 - 1))
    with pytest.raises(EntryRejected, match="exponent has more than 31 bits"):
        read_verifier(key(2**31 + 1))
