# SPDX-License-Identifier: Apache-2.0
"""Chains that a log takes; what the API's tests do not reach."""

import contextlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import RequestRejected
from countermark.ctlog.submission import check_chain
from tests.support.authority import NOW, Chain, make_chain

CHAIN = make_chain()


def issue(
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
    subject: str = "",
    own_key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    own_key = own_key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer)
        .public_key(own_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(minutes=10))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, isinstance(extension, x509.PrecertPoison))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def leaf(chain: Chain, *extensions: x509.ExtensionType) -> bytes:
    key = chain.issuing_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return issue(chain.issuing.subject, key, *extensions)


ROOTS = [CHAIN.certificates[-1]]
POISONED = leaf(CHAIN, x509.PrecertPoison())


def test_root_is_added_where_it_was_left_out() -> None:
    full = check_chain([POISONED, *CHAIN.certificates], ROOTS, precertificate=True)
    short = check_chain([POISONED, CHAIN.certificates[0]], ROOTS, precertificate=True)
    assert full == short
    assert full.chain == CHAIN.certificates


def test_leaf_directly_below_the_root() -> None:
    certificate = issue(CHAIN.root.subject, CHAIN.root_key)
    checked = check_chain([certificate], ROOTS, precertificate=False)
    assert checked.chain == (CHAIN.certificates[-1],)
    assert (checked.issuer_key_hash, checked.pre_certificate) == (b"", b"")


def test_right_root_is_found_among_roots_of_one_name() -> None:
    same_name = make_chain().certificates[-1]
    checked = check_chain(
        [POISONED, CHAIN.certificates[0]], [same_name, *ROOTS], precertificate=True
    )
    assert checked.chain == CHAIN.certificates
    with pytest.raises(RequestRejected, match="no accepted root"):
        check_chain([POISONED, CHAIN.certificates[0]], [same_name], precertificate=True)


def test_any_purpose_is_good_and_so_is_none() -> None:
    every = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.5.29.37.0")])
    for certificate in (leaf(CHAIN), leaf(CHAIN, every)):
        assert check_chain([certificate, *CHAIN.certificates], ROOTS, precertificate=False)


def test_path_length_is_kept() -> None:
    """The issuing CA allows no CA below itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuing_key = CHAIN.issuing_key
    assert isinstance(issuing_key, ec.EllipticCurvePrivateKey)
    below = issue(
        CHAIN.issuing.subject,
        issuing_key,
        x509.BasicConstraints(True, None),
        subject="below",
        own_key=key,
    )
    certificate = issue(x509.load_der_x509_certificate(below).subject, key)
    with pytest.raises(RequestRejected, match="no chain this long"):
        check_chain([certificate, below, *CHAIN.certificates], ROOTS, precertificate=False)


def test_leaf_may_not_issue() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issuing_key = CHAIN.issuing_key
    assert isinstance(issuing_key, ec.EllipticCurvePrivateKey)
    certificate = issue(CHAIN.issuing.subject, issuing_key, subject="leaf", own_key=key)
    below = issue(x509.load_der_x509_certificate(certificate).subject, key)
    with pytest.raises(RequestRejected, match="may not sign"):
        check_chain([below, certificate, *CHAIN.certificates], ROOTS, precertificate=False)


@given(st.data())
def test_damaged_chains_are_refused(data: st.DataObject) -> None:
    """No damage to a precertificate leaves it acceptable: every byte of it is signed or framing."""
    damaged = bytearray(POISONED)
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RequestRejected):
        check_chain([bytes(damaged), *CHAIN.certificates], ROOTS, precertificate=True)


@given(st.lists(st.binary(max_size=60) | st.sampled_from(CHAIN.certificates), min_size=1))
def test_any_chain(chain: list[bytes]) -> None:
    with contextlib.suppress(RequestRejected):
        check_chain(chain, ROOTS, precertificate=False)
