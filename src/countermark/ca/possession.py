# SPDX-License-Identifier: Apache-2.0
"""Which keys may be certified, and whether the requester holds the private half.

Errors carry upstream's words, which clients show to people. The order of checks is upstream's
too: parse, strength, possession, allowed algorithm.
"""

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    PossessionUnproven,
    RequestRejected,
    SignatureInvalid,
)
from countermark.core.identity.csr import CertificationRequest
from countermark.core.wire.fulcio import SigningCertRequest, first_pem_block

_UNPARSABLE_KEY = "The public key supplied in the request could not be parsed"
_UNPARSABLE_CSR = "The certificate signing request could not be parsed"
_INSECURE_KEY = "The public key supplied in the request is insecure"
_WRONG_SIGNATURE = "The signature supplied in the request could not be verified"

_KEY_LABELS = ("PUBLIC KEY", "RSA PUBLIC KEY")
_CSR_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_RSA_ALGORITHM = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL_VALUE)
_RSA_EXPONENT = 65537
_GO_TYPES = {"RSA": "*rsa.PublicKey", "ECDSA": "*ecdsa.PublicKey", "ED25519": "ed25519.PublicKey"}


def certifiable_key(request: SigningCertRequest, principal_name: str) -> PublicKey:
    """The key to certify, if it is strong enough, allowed and in the requester's hands.

    Raises RequestRejected (AlgorithmRefused, PossessionUnproven).
    """
    if request.csr is not None:
        return _key_of_csr(request.csr)
    key = _strong_key(_spki(request.public_key), _UNPARSABLE_KEY)
    try:
        key.verify(request.proof, principal_name.encode("utf-8"), "proof of possession")
    except SignatureInvalid as error:
        raise PossessionUnproven(_WRONG_SIGNATURE) from error
    return key


def _key_of_csr(data: bytes) -> PublicKey:
    try:
        label, encoded = first_pem_block(data, "certificate signing request")
        if label not in _CSR_LABELS:
            raise FormatError("certificate signing request", f"is a PEM {label!r} block")
        csr = CertificationRequest.parse(encoded)
    except FormatError as error:
        raise RequestRejected(_UNPARSABLE_CSR) from error
    key = _strong_key(csr.spki, _UNPARSABLE_CSR)
    try:
        csr.verify(key)
    except SignatureInvalid as error:
        raise PossessionUnproven(_WRONG_SIGNATURE) from error
    if csr.hash_name != key.hash_name:
        kind = next(go for name, go in _GO_TYPES.items() if name in key.details)
        used = csr.hash_name.replace("sha", "SHA-")
        raise AlgorithmRefused(f"signing algorithm not permitted: {kind}, {used}")
    return key


def _spki(content: bytes) -> bytes:
    """SubjectPublicKeyInfo from PEM with either label, or from bare DER (sigstore-rs, v1)."""
    if b"-----BEGIN" not in content:
        return content
    try:
        label, data = first_pem_block(content, "public key")
    except FormatError as error:
        raise RequestRejected(_UNPARSABLE_KEY) from error
    if label not in _KEY_LABELS:
        raise RequestRejected(_UNPARSABLE_KEY)
    return data if label == "PUBLIC KEY" else der.sequence(_RSA_ALGORITHM, der.bit_string(data))


def _strong_key(spki: bytes, unparsable: str) -> PublicKey:
    try:
        key = PublicKey.from_spki(spki)
        if key.details.startswith("PKIX_RSA") and _exponent(key) != _RSA_EXPONENT:
            raise AlgorithmRefused("the RSA exponent is not 65537")
    except AlgorithmRefused as error:
        raise AlgorithmRefused(_INSECURE_KEY) from error
    except FormatError as error:
        raise RequestRejected(unparsable) from error
    return key


def _exponent(key: PublicKey) -> int:
    info = der.decode(key.spki, "public key").reader("public key")
    info.read()
    numbers = der.Reader(der.decode_bit_string(info.read(), "public key"), "public key").sequence()
    numbers.integer()
    return numbers.integer()
