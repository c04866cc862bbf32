# SPDX-License-Identifier: Apache-2.0
"""Tying a log entry to a bundle: same signature, same certificate or key, same artifact.

Without it a valid entry of somebody else's signature could stand in (CVE-2022-36056,
CVE-2026-22703). v2 bodies are rebuilt and compared as a whole. v1 bodies are taken apart, since
clients wrote their PEM in more than one way.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from countermark.core.bundle import protojson
from countermark.core.bundle.bundle import MessageSignature, TransparencyLogEntry
from countermark.core.bundle.protojson import JSONObject
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks, encode_pem
from countermark.core.encoding import from_base64, from_utf8
from countermark.core.errors import AlgorithmRefused, InclusionInvalid
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.log_entry import KIND_V2

MAX_BODY_BYTES = 16 * 1024 * 1024
_HASHES = ("sha256", "sha384", "sha512")
_V2_HASHES = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}


class Signed(NamedTuple):
    """What a bundle claims, to be found again in its log entry.

    Attributes:
        content: signature or envelope.
        signature: the raw signature bytes of either.
        certificate: the signer's, None for a managed key.
        key: the signer's.
        artifact: what was signed, or what the envelope's statement is about.
    """

    content: MessageSignature | Envelope
    signature: bytes
    certificate: Certificate | None
    key: PublicKey
    artifact: Artifact


def check_body(entry: TransparencyLogEntry, signed: Signed) -> str:
    """Check that `entry` records exactly `signed`; gives the hash of what it says was signed.

    Raises InclusionInvalid if it records something else or is of a kind that proves nothing
    here, FormatError for a body that cannot be read.
    """
    kind = (entry.kind, entry.version)
    if kind == KIND_V2:
        return _check_hashedrekord_v2(entry.canonicalized_body, signed)
    check = _CHECKS.get((*kind, isinstance(signed.content, Envelope)))
    if check is None:
        named = " ".join(kind)[:80]
        raise InclusionInvalid(f"a log entry of kind {named} does not fit this signature")
    if check is _check_hashedrekord and entry.canonicalized_body == _usual_hashedrekord(signed):
        return signed.key.hash_name
    body = protojson.parse_object(entry.canonicalized_body, "log entry", limit=MAX_BODY_BYTES)
    if (body.get("kind"), body.get("apiVersion")) != kind:
        raise InclusionInvalid("the log entry's body is of another kind than the bundle says")
    return check(protojson.required_object(body, "spec"), signed)


def _usual_hashedrekord(signed: Signed) -> bytes:
    """The body as it is nearly always: byte for byte, so there is nothing left to check."""
    hash_name = signed.key.hash_name
    if not hash_name or signed.certificate is None:
        return b""
    return (
        b'{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"%b",'
        b'"value":"%b"}},"signature":{"content":"%b","publicKey":{"content":"%b"}}}}'
    ) % (
        hash_name.encode("ascii"),
        signed.artifact.digest(hash_name).hex().encode("ascii"),
        b64encode(signed.signature),
        _pem_base64(signed.certificate.der),
    )


def _check_hashedrekord(spec: JSONObject, signed: Signed) -> str:
    signature = protojson.required_object(spec, "signature")
    _check_signature(protojson.text(signature, "content"), signed)
    verifier = protojson.required_object(signature, "publicKey")
    _check_verifier(protojson.text(verifier, "content"), signed)
    digest = protojson.required_object(protojson.required_object(spec, "data"), "hash")
    hash_name = protojson.text(digest, "algorithm")
    if hash_name not in _HASHES:
        raise InclusionInvalid(f"the log entry hashes with {hash_name[:32]!r}")
    if protojson.text(digest, "value") != signed.artifact.digest(hash_name).hex():
        raise InclusionInvalid("the log entry is about another artifact")
    return hash_name


def _check_hashedrekord_v2(body: bytes, signed: Signed) -> str:
    hash_name = signed.key.hash_name
    if not hash_name:
        raise AlgorithmRefused("a pure Ed25519 key cannot sign entries of log API v2")
    if isinstance(signed.content, Envelope):
        digest = hashlib.new(hash_name, signed.content.pae()).digest()
    else:
        digest = signed.artifact.digest(hash_name)
    if signed.certificate is not None:
        kind, verifier = b"x509Certificate", signed.certificate.der
    else:
        kind, verifier = b"publicKey", signed.key.spki
    expected = (
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":'
        b'{"algorithm":"%b","digest":"%b"},"signature":{"content":"%b","verifier":'
        b'{"keyDetails":"%b","%b":{"rawBytes":"%b"}}}}}}'
    ) % (
        _V2_HASHES[hash_name].encode("ascii"),
        b64encode(digest),
        b64encode(signed.signature),
        signed.key.details.encode("ascii"),
        kind,
        b64encode(verifier),
    )
    if body != expected:
        raise InclusionInvalid(
            "the log entry does not record this artifact, this signature and this signer"
        )
    return hash_name


def _check_dsse(spec: JSONObject, signed: Signed) -> str:
    # envelopeHash is over the bytes as submitted, which a bundle does not keep.
    assert isinstance(signed.content, Envelope)
    _check_payload_hash(spec, signed.content)
    signatures = protojson.objects(spec, "signatures", limit=16)
    if len(signatures) != 1:
        raise InclusionInvalid(f"the log entry has {len(signatures)} signatures instead of one")
    _check_signature(protojson.text(signatures[0], "signature"), signed)
    _check_verifier(protojson.text(signatures[0], "verifier"), signed)
    return signed.key.hash_name


def _check_intoto(spec: JSONObject, signed: Signed) -> str:
    assert isinstance(signed.content, Envelope)
    content = protojson.required_object(spec, "content")
    _check_payload_hash(content, signed.content)
    envelope = protojson.required_object(content, "envelope")
    if protojson.text(envelope, "payloadType") != signed.content.payload_type:
        raise InclusionInvalid("the log entry is about another type of payload")
    signatures = protojson.objects(envelope, "signatures", limit=16)
    if len(signatures) != 1:
        raise InclusionInvalid(f"the log entry has {len(signatures)} signatures instead of one")
    twice = b64encode(b64encode(signed.signature))  # as this kind has it
    if protojson.text(signatures[0], "sig") != twice.decode("ascii"):
        raise InclusionInvalid("the log entry records another signature")
    _check_verifier(protojson.text(signatures[0], "publicKey"), signed)
    return signed.key.hash_name


def _check_payload_hash(parent: JSONObject, envelope: Envelope) -> None:
    digest = protojson.required_object(parent, "payloadHash")
    if protojson.text(digest, "algorithm") != "sha256":
        raise InclusionInvalid("the log entry does not hash its payload with SHA-256")
    if protojson.text(digest, "value") != hashlib.sha256(envelope.payload).hexdigest():
        raise InclusionInvalid("the log entry is about another payload")


def _check_signature(encoded: str, signed: Signed) -> None:
    if encoded != b64encode(signed.signature).decode("ascii"):
        raise InclusionInvalid("the log entry records another signature")


def _check_verifier(encoded: str, signed: Signed) -> None:
    what = "log entry's verifier"
    pem = from_utf8(from_base64(encoded, what), what)
    label, data = decode_pem_blocks(pem, what)[0]
    if signed.certificate is not None:
        expected = ("CERTIFICATE", signed.certificate.der)
    else:
        expected = ("PUBLIC KEY", signed.key.spki)
    if (label, data) != expected:
        raise InclusionInvalid("the log entry records another signer")


@lru_cache(maxsize=256)
def _pem_base64(certificate_der: bytes) -> bytes:
    return b64encode(encode_pem("CERTIFICATE", certificate_der).encode("ascii"))


# By kind, version and whether an envelope was signed.
_CHECKS: dict[tuple[str, str, bool], Callable[[JSONObject, Signed], str]] = {
    ("hashedrekord", "0.0.1", False): _check_hashedrekord,
    ("dsse", "0.0.1", True): _check_dsse,
    ("intoto", "0.0.2", True): _check_intoto,
}
