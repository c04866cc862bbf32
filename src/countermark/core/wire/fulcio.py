# SPDX-License-Identifier: Apache-2.0
"""Fulcio's HTTP API, both directions: v2 messages, what v1 shares with them, error bodies.

Requests are read as proto3 JSON readers do (both spellings of names, either base64 alphabet,
unknown fields ignored) and written in the canonical form. Nothing here judges a token, a key
or a certificate.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import msgspec

from countermark.core.crypto.keys import decode_pem, encode_pem
from countermark.core.encoding import from_base64_lenient, to_base64
from countermark.core.errors import FormatError

PEM_CHAIN_TYPE = "application/pem-certificate-chain"
_MAX_CHAIN = 10
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]*-----END \1-----", re.ASCII)
_MAX_PEM_CHARS = 64 * 1024
_T = TypeVar("_T", bound=msgspec.Struct)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SigningCertRequest:
    """What a client asks of the CA; none of it is checked yet.

    Attributes:
        token: the identity token in the body; empty if it is elsewhere.
        public_key: PEM text (v1: PEM or DER bytes as sent); empty if absent.
        proof: signature over the principal's name; empty if absent.
        csr: PKCS#10 as PEM; None if the request has a public key instead.
    """

    token: str
    public_key: bytes
    proof: bytes
    csr: bytes | None


class _Credentials(msgspec.Struct):
    token: str | None = msgspec.field(default=None, name="oidcIdentityToken")
    token_snake: str | None = msgspec.field(default=None, name="oidc_identity_token")


class _PublicKey(msgspec.Struct):
    content: str | None = None  # `algorithm` is ignored, as upstream ignores it


class _PublicKeyRequest(msgspec.Struct):
    key: _PublicKey | None = msgspec.field(default=None, name="publicKey")
    key_snake: _PublicKey | None = msgspec.field(default=None, name="public_key")
    proof: str | None = msgspec.field(default=None, name="proofOfPossession")
    proof_snake: str | None = msgspec.field(default=None, name="proof_of_possession")


class _Request(msgspec.Struct):
    credentials: _Credentials | None = None
    key: _PublicKeyRequest | None = msgspec.field(default=None, name="publicKeyRequest")
    key_snake: _PublicKeyRequest | None = msgspec.field(default=None, name="public_key_request")
    csr: str | None = msgspec.field(default=None, name="certificateSigningRequest")
    csr_snake: str | None = msgspec.field(default=None, name="certificate_signing_request")


class _LegacyRequest(msgspec.Struct):
    key: _PublicKey | None = msgspec.field(default=None, name="publicKey")
    key_snake: _PublicKey | None = msgspec.field(default=None, name="public_key")
    proof: str | None = msgspec.field(default=None, name="signedEmailAddress")
    proof_snake: str | None = msgspec.field(default=None, name="signed_email_address")
    csr: str | None = msgspec.field(default=None, name="certificateSigningRequest")
    csr_snake: str | None = msgspec.field(default=None, name="certificate_signing_request")


class _Chain(msgspec.Struct):
    certificates: list[str] = []


class _ChainHolder(msgspec.Struct):
    chain: _Chain | None = None


class _Response(msgspec.Struct):
    embedded: _ChainHolder | None = msgspec.field(default=None, name="signedCertificateEmbeddedSct")
    detached: _ChainHolder | None = msgspec.field(default=None, name="signedCertificateDetachedSct")


class _Error(msgspec.Struct):
    message: str = ""


_request_decoder = msgspec.json.Decoder(_Request)
_legacy_decoder = msgspec.json.Decoder(_LegacyRequest)
_response_decoder = msgspec.json.Decoder(_Response)
_error_decoder = msgspec.json.Decoder(_Error)


def signing_cert_request(token: str, public_key_pem: str, proof: bytes) -> bytes:
    """Body of ``POST /api/v2/signingCert`` with a public key and its proof of possession.

    `proof` is the signature, by that key, over the token's principal name in UTF-8.
    """
    return _encode(
        {
            "credentials": {"oidcIdentityToken": token},
            "publicKeyRequest": {
                "publicKey": {"algorithm": "ECDSA", "content": public_key_pem},
                "proofOfPossession": to_base64(proof),
            },
        }
    )


def parse_signing_cert_request(data: bytes) -> SigningCertRequest:
    """Read a v2 request. An empty body is an empty request. Raises FormatError."""
    request = _decode(_request_decoder, data or b"{}", "signing certificate request")
    credentials = request.credentials or _Credentials()
    key = _either(request.key, request.key_snake, "publicKeyRequest")
    csr = _either(request.csr, request.csr_snake, "certificateSigningRequest")
    if key is not None and csr is not None:
        raise FormatError("signing certificate request", "has both a public key and a CSR")
    key = key or _PublicKeyRequest()
    public_key = _either(key.key, key.key_snake, "publicKey") or _PublicKey()
    proof = _either(key.proof, key.proof_snake, "proofOfPossession")
    return SigningCertRequest(
        token=_either(credentials.token, credentials.token_snake, "oidcIdentityToken") or "",
        public_key=(public_key.content or "").encode("utf-8"),
        proof=from_base64_lenient(proof or "", "proofOfPossession"),
        csr=from_base64_lenient(csr, "certificateSigningRequest") if csr else None,
    )


def parse_legacy_request(data: bytes) -> SigningCertRequest:
    """Read a v1 request; its public key is base64 of PEM or DER. Raises FormatError."""
    request = _decode(_legacy_decoder, data or b"{}", "signing certificate request")
    csr = _either(request.csr, request.csr_snake, "certificateSigningRequest")
    public_key = _either(request.key, request.key_snake, "publicKey") or _PublicKey()
    proof = _either(request.proof, request.proof_snake, "signedEmailAddress")
    return SigningCertRequest(
        token="",
        public_key=from_base64_lenient(public_key.content or "", "publicKey.content"),
        proof=from_base64_lenient(proof or "", "signedEmailAddress"),
        csr=from_base64_lenient(csr, "certificateSigningRequest") if csr else None,
    )


def signing_cert_response(chain: Sequence[bytes]) -> bytes:
    """v2 reply: certificates as DER, leaf first, root included, the SCT inside the leaf.

    The PEM texts end without a newline, as upstream's do.
    """
    # All leaves of a chain share what is above them.
    texts = (encode_pem("CERTIFICATE", chain[0]), *map(_issuer_pem, chain[1:]))
    certificates = [text.rstrip("\n") for text in texts]
    return _encode({"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}})


def parse_signing_cert_response(data: bytes) -> tuple[bytes, ...]:
    """Certificates of a v2 reply as DER, leaf first. Raises FormatError.

    A reply with a detached SCT is read too; its leaf then holds none, which is for the caller
    to find out.
    """
    what = "signing certificate reply"
    response = _decode(_response_decoder, data, what)
    holder = _either(response.embedded, response.detached, what)
    certificates = holder.chain.certificates if holder is not None and holder.chain else []
    if not 1 <= len(certificates) <= _MAX_CHAIN:
        raise FormatError(what, f"holds {len(certificates)} certificates")
    chain = []
    for text in certificates:
        label, der = decode_pem(text, what)
        if label != "CERTIFICATE":
            raise FormatError(what, f"holds a PEM {label[:40]!r} block")
        chain.append(der)
    return tuple(chain)


def trust_bundle(chains: Iterable[Sequence[bytes]]) -> bytes:
    """v2 trust bundle: chains of DER, issuing CA first, root last. PEM keeps its newline."""
    return _encode(
        {
            "chains": [
                {"certificates": [encode_pem("CERTIFICATE", der) for der in chain]}
                for chain in chains
            ]
        }
    )


def pem_chain(chain: Iterable[bytes]) -> bytes:
    """v1 reply: PEM blocks one below the other, no newline at the end."""
    return "".join(encode_pem("CERTIFICATE", der) for der in chain).rstrip("\n").encode("ascii")


def configuration(issuers: Iterable[tuple[str, str, str, str]]) -> bytes:
    """v2 configuration from (issuer URL, audience, challenge claim, issuer type) rows.

    Defaults are written out, as upstream does.
    """
    return _encode(
        {
            "issuers": [
                {
                    "issuerUrl": url,
                    "audience": audience,
                    "challengeClaim": claim,
                    "spiffeTrustDomain": "",
                    "issuerType": kind,
                    "subjectDomain": "",
                    "skipEmailVerification": False,
                }
                for url, audience, claim, kind in issuers
            ]
        }
    )


def error_body(code: int, message: str) -> bytes:
    """An error as gRPC gateways write it; `code` is the gRPC status number."""
    return _encode({"code": code, "message": message, "details": []})


def error_message(data: bytes) -> str:
    """The message of an error body; empty for anything else (proxies answer in HTML)."""
    try:
        return _decode(_error_decoder, data, "error body").message
    except FormatError:
        return ""


def first_pem_block(data: bytes, what: str) -> tuple[str, bytes]:
    """Label and content of the first PEM block; what surrounds it is ignored, as Go does.

    Raises FormatError.
    """
    if len(data) > _MAX_PEM_CHARS:
        raise FormatError(what, f"is larger than {_MAX_PEM_CHARS} bytes")
    match = _PEM_BLOCK.search(data.decode("latin-1"))
    if match is None:
        raise FormatError(what, "is not PEM")
    return decode_pem(match[0], what)


@lru_cache(maxsize=16)
def _issuer_pem(der: bytes) -> str:
    return encode_pem("CERTIFICATE", der)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes, what: str) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FormatError(what, str(error)) from error


_V = TypeVar("_V")


def _either(first: _V | None, second: _V | None, what: str) -> _V | None:
    if first is not None and second is not None:
        raise FormatError(what, "is given twice")
    return second if first is None else first
