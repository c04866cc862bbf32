# SPDX-License-Identifier: Apache-2.0
"""Tying a log entry to a bundle: same signature, same certificate or key, same artifact.

Without it a valid entry of somebody else's signature could stand in (CVE-2022-36056,
CVE-2026-22703). v2 bodies are rebuilt and compared as a whole. v1 bodies are taken apart, since
clients wrote their PEM in more than one way.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

from countermark.core.bundle import protojson
from countermark.core.bundle.bundle import MessageSignature, TransparencyLogEntry
from countermark.core.bundle.protojson import JSONObject
from countermark.core.crypto.keys import PublicKey, encode_pem
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    InclusionInvalid,
    SignatureInvalid,
)
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.log_entry import KIND_V2
from countermark.core.verify.recorded import (
    Signed,
    check_signature,
    check_verifier,
    signer_words,
)
from countermark.core.verify.words import short

BodyCheck: TypeAlias = Callable[[JSONObject, Signed], tuple[PublicKey, ...]]

MAX_BODY_BYTES = 16 * 1024 * 1024
_HASHES = ("sha256", "sha384", "sha512")
_V2_HASHES = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}


def check_body(entry: TransparencyLogEntry, signed: Signed) -> tuple[PublicKey, ...]:
    """Check that `entry` records exactly `signed`.

    Gives the signer's key in the ways it may have been used according to the entry: the
    signature must verify in one of them. For hashedrekord that is a single one.

    Raises InclusionInvalid if it records something else or is of a kind that proves nothing
    here, SignatureInvalid for a hash that the key does not sign with, FormatError for a body
    that cannot be read.
    """
    kind = (entry.kind, entry.version)
    if kind == KIND_V2:
        return _check_hashedrekord_v2(entry.canonicalized_body, signed)
    checks = _checks_for(signed.content)
    check = checks.get(kind)
    if check is None:
        named = " ".join(kind)[:80]
        raise InclusionInvalid(
            f"a log entry of kind {named} does not fit this signature",
            found=named,
            expected=" or ".join(" ".join(known) for known in (*checks, KIND_V2)),
        )
    if check is _check_hashedrekord and entry.canonicalized_body == _usual_hashedrekord(signed):
        return (signed.key,)
    body = protojson.parse_object(entry.canonicalized_body, "log entry", limit=MAX_BODY_BYTES)
    if (body.get("kind"), body.get("apiVersion")) != kind:
        raise InclusionInvalid(
            "the log entry's body is of another kind than the bundle says",
            found=f"{body.get('kind')} {body.get('apiVersion')}"[:80],
            expected=" ".join(kind)[:80],
        )
    return check(protojson.required_object(body, "spec"), signed)


def _checks_for(content: MessageSignature | Envelope) -> Mapping[tuple[str, str], BodyCheck]:
    if isinstance(content, Envelope):
        from countermark.core.verify.envelope_body import CHECKS  # most bundles have none

        return CHECKS
    return {("hashedrekord", "0.0.1"): _check_hashedrekord}


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


def _check_hashedrekord(spec: JSONObject, signed: Signed) -> tuple[PublicKey, ...]:
    signature = protojson.required_object(spec, "signature")
    check_signature(protojson.text(signature, "content"), signed)
    verifier = protojson.required_object(signature, "publicKey")
    check_verifier(protojson.text(verifier, "content"), signed)
    digest = protojson.required_object(protojson.required_object(spec, "data"), "hash")
    hash_name = protojson.text(digest, "algorithm")
    if hash_name not in _HASHES:
        raise InclusionInvalid(
            f"the log entry hashes with {hash_name[:32]!r}",
            found=hash_name[:32],
            expected=" or ".join(_HASHES),
        )
    recorded, artifact = protojson.text(digest, "value"), signed.artifact.digest(hash_name).hex()
    if recorded != artifact:
        raise InclusionInvalid(
            "the log entry is about another artifact",
            found=f"{hash_name}:{recorded[:128]} in the entry",
            expected=f"{hash_name}:{artifact}, the artifact's",
        )
    # Old clients hashed with SHA-256 for every curve, and the entry says if so. Ed25519 keys
    # are Ed25519ph here: a log that sees the digest only can check nothing else.
    for use in signed.key.uses:
        if use.hash_name == hash_name:
            return (use,)
    raise SignatureInvalid(
        f"a {signed.key.details} key does not sign {hash_name} digests",
        found=hash_name,
        expected=" or ".join(use.hash_name for use in signed.key.uses if use.hash_name)
        or "no digest",
    )


def _check_hashedrekord_v2(body: bytes, signed: Signed) -> tuple[PublicKey, ...]:
    uses = [use for use in signed.key.uses if use.hash_name]
    if not uses:
        raise AlgorithmRefused(f"a {signed.key.details} key cannot sign entries of log API v2")
    for use in uses:
        if body == _hashedrekord_v2(signed, use):
            return (use,)
    found, expected = _difference_v2(body, signed)
    raise InclusionInvalid(
        "the log entry does not record this artifact, this signature and this signer",
        found=found,
        expected=expected,
    )


def _hashedrekord_v2(signed: Signed, use: PublicKey) -> bytes:
    if signed.certificate is not None:
        kind, verifier = b"x509Certificate", signed.certificate.der
    else:
        kind, verifier = b"publicKey", signed.key.spki
    return (
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":'
        b'{"algorithm":"%b","digest":"%b"},"signature":{"content":"%b","verifier":'
        b'{"keyDetails":"%b","%b":{"rawBytes":"%b"}}}}}}'
    ) % (
        _V2_HASHES[use.hash_name].encode("ascii"),
        b64encode(_signed_digest(signed, use.hash_name)),
        b64encode(signed.signature),
        use.details.encode("ascii"),
        kind,
        b64encode(verifier),
    )


def _signed_digest(signed: Signed, hash_name: str) -> bytes:
    if isinstance(signed.content, Envelope):
        return hashlib.new(hash_name, signed.content.pae()).digest()
    return signed.artifact.digest(hash_name)


def _difference_v2(body: bytes, signed: Signed) -> tuple[str, str]:
    """Where a v2 body and the bundle differ: what the body has, and what the bundle has."""
    try:
        tree = protojson.parse_object(body, "log entry", limit=MAX_BODY_BYTES)
        spec = protojson.required_object(tree, "spec")
        record = protojson.required_object(spec, "hashedRekordV002")
        data = protojson.required_object(record, "data")
        signature = protojson.required_object(record, "signature")
        digest = protojson.raw_bytes(data, "digest")
        content = protojson.raw_bytes(signature, "content")
        if content != signed.signature:
            theirs, ours = short(content), short(signed.signature)
            return f"signature {theirs} in the entry", f"signature {ours}"
        name = f"sha{protojson.text(data, 'algorithm').removeprefix('SHA2_')}"
        if name in _HASHES and digest != (wanted := _signed_digest(signed, name)):
            found = f"digest {name}:{digest.hex()[:128]} in the entry"
            return found, f"digest {name}:{wanted.hex()}"
    except FormatError:
        return "a body that cannot be read", "a hashedrekord 0.0.2 body"
    return "another signer, or another way to sign, in the entry", signer_words(signed)


@lru_cache(maxsize=256)
def _pem_base64(certificate_der: bytes) -> bytes:
    return b64encode(encode_pem("CERTIFICATE", certificate_der).encode("ascii"))
