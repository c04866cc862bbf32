# SPDX-License-Identifier: Apache-2.0
"""CA and TSA chains as `cryptography` and openssl see them."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from countermark.core.crypto.keys import PublicKey, encode_pem
from countermark.core.errors import AlgorithmRefused
from countermark.drivers.keys.file import P256, P384, RSA_2048, FileSigner, create_key
from countermark.drivers.system import SystemEntropy
from countermark.ports.clock import Entropy
from countermark.ports.signer import Signer
from countermark.trust.authorities import Authority, issue_ca_chain, issue_tsa_chain

START = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
Issue = Callable[[str, Signer, PublicKey, datetime, Entropy], Authority]


class Fixed:
    """Entropy that is all one byte."""

    def __init__(self, value: int) -> None:
        self.value = value

    def bytes(self, count: int) -> bytes:
        return bytes([self.value]) * count


@pytest.fixture
def root(tmp_path: Path) -> FileSigner:
    return create_key(tmp_path / "root.pem", P384, b"secret")


@pytest.fixture
def online(tmp_path: Path) -> FileSigner:
    return create_key(tmp_path / "online.pem", P256, b"secret")


def issue(
    kind: Issue, root: FileSigner, online: FileSigner, entropy: Entropy | None = None
) -> list[x509.Certificate]:
    authority = kind("localhost", root, online.public_key, START, entropy or SystemEntropy())
    return [x509.load_der_x509_certificate(data) for data in authority.chain]


@pytest.mark.parametrize("kind", [issue_ca_chain, issue_tsa_chain])
def test_signatures_names_and_dates_hold_together(
    kind: Issue, root: FileSigner, online: FileSigner
) -> None:
    leaf, anchor = issue(kind, root, online)

    leaf.verify_directly_issued_by(anchor)
    anchor.verify_directly_issued_by(anchor)
    assert leaf.not_valid_before_utc == anchor.not_valid_before_utc == START
    assert START < leaf.not_valid_after_utc <= anchor.not_valid_after_utc
    assert anchor.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA384
    for certificate in (leaf, anchor):
        assert certificate.version is x509.Version.v3
        assert 0 < certificate.serial_number < 1 << 159
        (organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert organization.value == "localhost"
    assert leaf.serial_number != anchor.serial_number
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier == x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        anchor.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    for certificate, signer in ((leaf, online), (anchor, root)):
        key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        assert found.value == key
        spki = certificate.public_key().public_bytes(*SPKI)
        assert spki == signer.public_key.spki


def test_profile_of_the_ca(root: FileSigner, online: FileSigner) -> None:
    intermediate, anchor = issue(issue_ca_chain, root, online)

    constraints = intermediate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    purposes = intermediate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert not purposes.critical
    assert purposes.value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    assert len(intermediate.extensions) == 5

    constraints = anchor.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=None)
    assert len(anchor.extensions) == 3  # no EKU
    for certificate in (intermediate, anchor):
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value == key_usage("key_cert_sign", "crl_sign")


def test_profile_of_the_tsa(root: FileSigner, online: FileSigner) -> None:
    leaf, anchor = issue(issue_tsa_chain, root, online)

    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert purposes.critical
    assert purposes.value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value == key_usage("digital_signature")
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    constraints = anchor.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)


@pytest.mark.parametrize(
    ("kind", "purpose"), [(issue_ca_chain, None), (issue_tsa_chain, "timestampsign")]
)
def test_openssl_accepts_the_chain(
    tmp_path: Path, root: FileSigner, online: FileSigner, kind: Issue, purpose: str | None
) -> None:
    authority = kind("localhost", root, online.public_key, START, SystemEntropy())
    leaf, anchor = tmp_path / "leaf.crt", tmp_path / "anchor.crt"
    leaf.write_text(encode_pem("CERTIFICATE", authority.chain[0]))
    anchor.write_text(encode_pem("CERTIFICATE", authority.chain[1]))
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig"]
    command += ["-attime", str(int(START.timestamp())), "-CAfile", str(anchor)]
    if purpose is not None:
        command += ["-purpose", purpose]

    good = subprocess.run([*command, str(leaf)], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr

    stranger = issue_ca_chain("localhost", online, root.public_key, START, SystemEntropy()).chain[0]
    leaf.write_text(encode_pem("CERTIFICATE", stranger))
    bad = subprocess.run([*command, str(leaf)], capture_output=True, text=True)
    assert bad.returncode != 0


@pytest.mark.parametrize("value", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_serials_are_positive_and_fit(root: FileSigner, online: FileSigner, value: int) -> None:
    leaf, _ = issue(issue_ca_chain, root, online, Fixed(value))
    assert 0 < leaf.serial_number < 1 << 159


def test_pem_holds_the_chain_in_order(root: FileSigner, online: FileSigner) -> None:
    authority = issue_tsa_chain("host", root, online.public_key, START, SystemEntropy())
    found = x509.load_pem_x509_certificates(authority.to_pem().encode())
    assert [certificate.subject.rfc4514_string() for certificate in found] == [
        "CN=countermark-tsa,O=host",
        "CN=countermark-tsa-root,O=host",
    ]


def test_rsa_root_is_refused(tmp_path: Path, online: FileSigner) -> None:
    rsa = create_key(tmp_path / "rsa.pem", RSA_2048, b"secret")
    with pytest.raises(AlgorithmRefused):
        issue_ca_chain("localhost", rsa, online.public_key, START, SystemEntropy())


def key_usage(*bits: str) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in bits for name in names})
