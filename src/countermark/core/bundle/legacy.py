# SPDX-License-Identifier: Apache-2.0
"""Signatures from before bundles: cosign's detached files and its first bundle format.

They are read into a `Bundle` of version ``legacy``, which the verifier judges like any other.
All they have of a log is its promise (SET), never an inclusion proof, so:

- an entry counts only with a promise that the log signed, as in bundles of version 0.1;
- its body is compared with signature, signer and artifact as always;
- without an entry there is nothing public about the signature, and it is refused unless the
  caller asks for no log at all.
"""

from countermark.core.bundle import protojson
from countermark.core.bundle.bundle import (
    MAX_CERTIFICATES,
    Bundle,
    Content,
    MessageSignature,
    TransparencyLogEntry,
    parse_envelope,
)
from countermark.core.bundle.protojson import JSONObject
from countermark.core.crypto.keys import decode_pem_blocks
from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.encoding import from_base64_lenient, from_hex, from_utf8
from countermark.core.errors import FormatError
from countermark.core.intoto.envelope import Envelope

VERSION = "legacy"
MAX_LEGACY_BYTES = 4 * 1024 * 1024
_SEQUENCE = b"\x30"


def is_cosign_bundle(data: bytes) -> bool:
    """Whether this may be cosign's first bundle format; a look at the text, no more."""
    return b'"base64Signature"' in data and b'"verificationMaterial"' not in data


def parse_cosign_bundle(data: bytes) -> Bundle:
    """Read cosign's first bundle format. Raises FormatError.

    A JSON object: ``base64Signature``; ``cert``, the base64 of a PEM certificate or public key,
    if there is one; and ``rekorBundle``, if the signature was logged.
    """
    tree = protojson.parse_object(data, "cosign bundle", limit=MAX_LEGACY_BYTES)
    rekor = protojson.optional_object(tree, "rekorBundle")
    return _bundle(
        from_base64_lenient(protojson.required_text(tree, "base64Signature"), "base64Signature"),
        protojson.text(tree, "cert").encode("utf-8"),
        () if rekor is None else (_entry(rekor),),
        (),
    )


def from_parts(
    signature: bytes,
    certificate: bytes = b"",
    rekor_bundle: bytes = b"",
    timestamp: bytes = b"",
    sct: bytes = b"",
) -> Bundle:
    """Put a bundle together from detached files. Raises FormatError.

    Args:
        signature: raw or base64; a DSSE envelope for attestations.
        certificate: PEM, base64 of PEM, or DER; leaf first. Empty for a managed key.
        rekor_bundle: JSON with ``SignedEntryTimestamp`` and ``Payload``, alone or as
            ``rekorBundle`` of a cosign bundle; empty if there is none.
        timestamp: DER, or JSON with ``SignedRFC3161Timestamp``; empty if there is none.
        sct: a SignedCertificateTimestamp over the whole certificate (RFC 6962 section 3.2), as
            Fulcio's API v1 gave them; empty if there is none.
    """
    entries: tuple[TransparencyLogEntry, ...] = ()
    if rekor_bundle:
        tree = protojson.parse_object(rekor_bundle, "Rekor bundle", limit=MAX_LEGACY_BYTES)
        entries = (_entry(protojson.optional_object(tree, "rekorBundle") or tree),)
    stamps = (_timestamp(timestamp),) if timestamp else ()
    bundle = _bundle(_decoded(signature, "signature"), certificate, entries, stamps)
    if not sct:
        return bundle
    if not bundle.certificates:
        raise FormatError("SCT", "is about a certificate, and there is none")
    return bundle._replace(detached_scts=(SignedCertificateTimestamp.parse(sct).serialize(),))


def _bundle(
    signature: bytes,
    verifier: bytes,
    entries: tuple[TransparencyLogEntry, ...],
    stamps: tuple[bytes, ...],
) -> Bundle:
    if not signature:
        raise FormatError("signature", "is empty")
    certificates, content = _certificates(verifier), _content(signature)
    hint = None
    if not certificates:  # nothing names the key but an envelope
        hint = content.signatures[0].keyid if isinstance(content, Envelope) else ""
    return Bundle(VERSION, certificates, hint, entries, stamps, content)


def _content(signature: bytes) -> Content:
    if not (signature.lstrip().startswith(b"{") and b'"payloadType"' in signature):
        return MessageSignature(signature, "", b"")
    tree = protojson.parse_object(signature, "DSSE envelope", limit=MAX_LEGACY_BYTES)
    return parse_envelope(tree)


def _certificates(data: bytes) -> tuple[bytes, ...]:
    """DER of the certificates, leaf first; none if it is a public key, or nothing."""
    if not data:
        return ()
    data = _decoded(data, "certificate")
    if data.startswith(_SEQUENCE):
        return (data,)
    blocks = decode_pem_blocks(from_utf8(data, "certificate"), "certificate")
    labels = {label for label, _ in blocks}
    if labels == {"PUBLIC KEY"} and len(blocks) == 1:
        return ()
    if labels != {"CERTIFICATE"} or len(blocks) > MAX_CERTIFICATES:
        named = ", ".join(sorted(labels))[:80]
        raise FormatError("certificate", f"is {named} instead of certificates")
    return tuple(der for _, der in blocks)


def _decoded(data: bytes, what: str) -> bytes:
    """What base64 text stands for; anything else as it is."""
    text = b"".join(data.split())
    if text.isascii() and not text.startswith((b"{", b"-----")):
        return from_base64_lenient(text.decode("ascii"), what)
    return data


def _entry(tree: JSONObject) -> TransparencyLogEntry:
    payload = protojson.required_object(tree, "Payload")
    body = protojson.required_bytes(payload, "body")
    kind = protojson.parse_object(body, "log entry", limit=MAX_LEGACY_BYTES)
    return TransparencyLogEntry(
        protojson.int64(payload, "logIndex"),
        from_hex(protojson.required_text(payload, "logID"), "logID", length=32),
        protojson.required_text(kind, "kind"),
        protojson.required_text(kind, "apiVersion"),
        protojson.int64(payload, "integratedTime"),
        protojson.required_bytes(tree, "SignedEntryTimestamp"),
        None,
        body,
    )


def _timestamp(data: bytes) -> bytes:
    if data.startswith(_SEQUENCE):
        return data
    tree = protojson.parse_object(data, "timestamp", limit=MAX_LEGACY_BYTES)
    return protojson.required_bytes(tree, "SignedRFC3161Timestamp")
