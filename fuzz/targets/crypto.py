# SPDX-License-Identifier: Apache-2.0
"""DER, certificates, requests, keys and timestamps."""

from countermark.ca.possession import certifiable_key
from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate, parse_pem_certificates
from countermark.core.crypto.chain import verify_chain
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.errors import (
    AlgorithmRefused,
    ChainInvalid,
    FormatError,
    IdentityMismatch,
    RequestRejected,
    SignatureInvalid,
    TimeUnproven,
    VerificationError,
)
from countermark.core.identity.csr import CertificationRequest
from countermark.core.rekor.entry import EntryRejected
from countermark.core.rekor.verifiers import read_verifier
from countermark.core.tsp.request import TimestampRequest
from countermark.core.tsp.response import parse_response
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.signer import SignerIdentity
from countermark.core.wire.fulcio import SigningCertRequest
from countermark.core.wire.tsa import Refusal, request_from_json, request_to_json
from fuzz.context import trusted_root
from fuzz.target import Refusals, Target

_WHAT = "input"
_MAX_DEPTH = 8
_CODE_SIGNING = "1.3.6.1.5.5.7.3.3"


def _der(data: bytes) -> bool:
    with Refusals(FormatError):
        element = der.decode(data, _WHAT)
        assert der.encode(element.tag, element.content) == data
        _walk(element, 0)
        return True
    return False


def _walk(element: der.Element, depth: int) -> None:
    with Refusals(FormatError):
        if element.tag == der.INTEGER:
            assert der.integer(der.decode_integer(element, _WHAT)) == element.encoded
        elif element.tag == der.OID:
            assert der.oid(der.decode_oid(element, _WHAT)) == element.encoded
        elif element.tag == der.BIT_STRING:
            assert der.bit_string(der.decode_bit_string(element, _WHAT)) == element.encoded
        elif element.tag in (der.UTC_TIME, der.GENERALIZED_TIME):
            der.decode_time(element, _WHAT)
        elif element.tag & 0x20 and depth < _MAX_DEPTH:
            reader = element.reader(_WHAT)
            while reader:
                _walk(reader.read(), depth + 1)
            reader.end()


def _certificate(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        certificate = Certificate.parse(data)
        taken = True
        assert certificate.der == data
        assert certificate.tbs in data
        _ask(certificate)
    with Refusals(FormatError):
        for certificate in parse_pem_certificates(data.decode("latin-1")):
            taken = True
            assert parse_pem_certificates(certificate.to_pem()) == (certificate,)
            _ask(certificate)
    return taken


def _ask(certificate: Certificate) -> None:
    """Every question that a verifier asks."""
    authority = trusted_root().certificate_authorities[0]
    for question in (
        certificate.basic_constraints,
        certificate.subject_alternative_names,
        certificate.extended_key_usages,
        lambda: certificate.has_key_usage(5),
        lambda: certificate.public_key,
        lambda: certificate.tbs_without(OID_SCT_LIST),
        lambda: SignerIdentity.from_certificate(certificate),
        lambda: verify_chain(
            certificate, authority.certificates, certificate.not_before, purpose=_CODE_SIGNING
        ),
    ):
        with Refusals(FormatError, AlgorithmRefused, IdentityMismatch, ChainInvalid):
            question()


def _csr(data: bytes) -> bool:
    with Refusals(FormatError):
        request = CertificationRequest.parse(data)
        assert request.info in data
        with Refusals(FormatError, AlgorithmRefused, SignatureInvalid):
            request.verify(PublicKey.from_spki(request.spki))
            return True
    with Refusals(RequestRejected):  # as the CA reads it: PEM, with anything around it
        certifiable_key(SigningCertRequest("", b"", b"", data), "a@example.org")
        return True
    return False


def _public_key(data: bytes) -> bool:
    taken = False
    for read in (PublicKey.from_spki, lambda data: PublicKey.from_pem(data.decode("latin-1"))):
        with Refusals(FormatError, AlgorithmRefused):
            key = read(data)
            taken = True
            assert PublicKey.from_spki(key.spki) == PublicKey.from_pem(key.to_pem()) == key
            with Refusals(SignatureInvalid):
                key.verify(data[:80], b"message")
    with Refusals(FormatError):
        decode_pem_blocks(data.decode("latin-1"), _WHAT)
    with Refusals(EntryRejected):
        verifier = read_verifier(data)
        taken = True
        assert read_verifier(verifier.pem.encode()) == verifier
    with Refusals(RequestRejected):
        certifiable_key(SigningCertRequest("", data, b"proof", None), "a@example.org")
    return taken


def _tsp_request(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError, RequestRejected):
        request = TimestampRequest.parse(data)
        assert TimestampRequest.parse(request.serialize()) == request
        taken = True
    with Refusals(FormatError, RequestRejected):
        request = request_from_json(data)
        assert request_from_json(request_to_json(request)) == request
        taken = True
    assert isinstance(Refusal.parse(data, 400), Refusal)
    return taken


def _tsp_response(data: bytes) -> bool:
    with Refusals(FormatError):
        assert parse_response(data).info.der in data
        with Refusals(FormatError, VerificationError, TimeUnproven):
            verify_timestamp(data, b"a signature", trusted_root().timestamp_authorities)
        return True
    return False


TARGETS = (
    Target("der", _der, 4096),
    Target("certificate", _certificate),
    Target("csr", _csr, 4096),
    Target("public-key", _public_key),
    Target("tsp-request", _tsp_request, 2048),
    Target("tsp-response", _tsp_response),
)
