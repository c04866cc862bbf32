# SPDX-License-Identifier: Apache-2.0
"""Certificates, SCTs and timestamps: nothing but FormatError for damaged DER, and round trips."""

import contextlib

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    OID_SCT_LIST,
    Certificate,
    name_text,
    parse_pem_certificates,
)
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    parse_sct_list,
    serialize_sct_list,
)
from countermark.core.errors import AlgorithmRefused, FormatError, IdentityMismatch
from countermark.core.tsp.response import parse_response
from countermark.core.verify.signer import SignerIdentity
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import NOW, to_der

FORGE = Forge()
LEAF = to_der(FORGE.leaf(ec.generate_private_key(ec.SECP256R1()), Plan()))
TOKEN = FORGE.timestamp(b"a signature", NOW)
SCTS = st.builds(
    SignedCertificateTimestamp,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=80),
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with bytes replaced, removed or put in at a few places."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 4))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + cut :]
    return data


def ask_everything(certificate: Certificate) -> None:
    """Every question that a verifier asks of a certificate."""
    for question in (
        certificate.basic_constraints,
        certificate.subject_alternative_names,
        certificate.extended_key_usages,
        lambda: certificate.has_key_usage(5),
        lambda: certificate.public_key,
        lambda: certificate.tbs_without(OID_SCT_LIST),
        lambda: SignerIdentity.from_certificate(certificate),
    ):
        with contextlib.suppress(FormatError, AlgorithmRefused, IdentityMismatch):
            question()


@given(damaged(LEAF) | st.binary(max_size=200))
def test_damaged_certificates(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        certificate = Certificate.parse(data)
        assert certificate.der == data
        assert certificate.tbs in data
        ask_everything(certificate)


@given(damaged(Certificate.parse(LEAF).to_pem().encode()))
def test_damaged_pem(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        for certificate in parse_pem_certificates(data.decode("latin-1")):
            assert parse_pem_certificates(certificate.to_pem()) == (certificate,)


@given(damaged(TOKEN) | st.binary(max_size=200))
def test_damaged_timestamps(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert parse_response(data).info.der in data


@given(st.lists(SCTS, min_size=1, max_size=4).map(tuple))
def test_scts_round_trip(scts: tuple[SignedCertificateTimestamp, ...]) -> None:
    for sct in scts:
        assert SignedCertificateTimestamp.parse(sct.serialize()) == sct
    assert parse_sct_list(serialize_sct_list(scts)) == scts


@given(
    st.binary(max_size=300)
    | st.lists(SCTS, max_size=3).flatmap(lambda scts: damaged(serialize_sct_list(tuple(scts))))
)
def test_an_sct_list_has_one_spelling(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert serialize_sct_list(parse_sct_list(data)) == data


def _attribute(oid: str, text: str) -> bytes:
    return der.encode(der.SET, der.sequence(der.oid(oid), der.utf8_string(text)))


@given(st.binary(max_size=60) | st.lists(st.binary(max_size=8)).map(lambda d: der.sequence(*d)))
def test_names_are_told_whatever_they_hold(name: bytes) -> None:
    text = name_text(name)
    assert text
    assert text.encode()


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_are_told_as_they_are(common: str, organization: str) -> None:
    parts = [_attribute("2.5.4.10", organization), _attribute("2.5.4.3", common)]
    assert name_text(der.sequence(*parts)) == f"CN={common}, O={organization}"
