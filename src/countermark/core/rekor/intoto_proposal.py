# SPDX-License-Identifier: Apache-2.0
"""intoto 0.0.2: an older way to log a DSSE envelope, which some clients still take.

Upstream's oddities are part of the format: payload and signature are in base64 twice, keys are
kept as they were submitted, and ``hash`` is the client's word, which nobody can check. It is
kept, since a verifier expects the leaf to hold it, but nothing is found by it.
"""

import hashlib
from typing import Final

import msgspec

from countermark.core.canonical_json import JSON, canonical_json
from countermark.core.encoding import from_base64_bits, from_base64_lenient, from_hex, to_base64
from countermark.core.errors import FormatError
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, pae
from countermark.core.rekor.dsse_proposal import MAX_SIGNATURES, MAX_VERIFIED_BYTES
from countermark.core.rekor.entry import MAX_SEARCH_KEYS, CanonicalEntry, EntryRejected, search_key
from countermark.core.rekor.signatures import verify_message
from countermark.core.rekor.statement_terms import statement_terms
from countermark.core.rekor.verifiers import Verifier, read_verifier

KIND: Final = "intoto"
VERSION: Final = "0.0.2"
_MAX_ELEMENTS: Final = 64 * 1024


class _Hash(msgspec.Struct):
    algorithm: str = ""
    value: str = ""


class _Signature(msgspec.Struct):
    sig: str = ""
    public_key: str = msgspec.field(default="", name="publicKey")
    keyid: str = ""


class _Envelope(msgspec.Struct):
    payload: str | None = None
    payload_type: str = msgspec.field(default="", name="payloadType")
    signatures: list[_Signature] = []


class _Content(msgspec.Struct):
    envelope: _Envelope | None = None
    hash: _Hash | None = None
    payload_hash: _Hash | None = msgspec.field(default=None, name="payloadHash")


class _Spec(msgspec.Struct):
    content: _Content | None = None


_decode_spec = msgspec.json.Decoder(_Spec).decode


def parse_proposal(spec: bytes | msgspec.Raw) -> CanonicalEntry:
    """Read and verify the ``spec`` of a proposed entry. Raises EntryRejected.

    Every signature must verify under the key beside it.
    """
    _, envelope, stated = _parse_spec(spec)
    if envelope.payload is None:
        raise EntryRejected("missing payload")
    try:
        payload = from_base64_lenient(_inner(envelope.payload, "payload"), "payload")
        signatures = [from_base64_lenient(_inner(s.sig, "sig"), "sig") for s in envelope.signatures]
    except FormatError as error:
        raise EntryRejected(f"could not verify envelope: {error}") from error
    message = pae(envelope.payload_type, payload)
    if len(signatures) * len(message) > MAX_VERIFIED_BYTES:
        raise EntryRejected("DSSE envelope is too large for so many signatures")
    verifiers = [_verifier(item) for item in envelope.signatures]
    for verifier, signature in zip(verifiers, signatures, strict=True):
        try:
            verify_message(verifier.key, signature, message)
        except EntryRejected as error:
            raise EntryRejected(f"could not verify envelope: {error}") from error
    digest = hashlib.sha256(payload).hexdigest()
    terms = {f"sha256:{digest}": None}
    if envelope.payload_type == PAYLOAD_TYPE_IN_TOTO:
        terms.update(dict.fromkeys(statement_terms(payload)))
    keys = {key: None for verifier in verifiers for key in verifier.search_keys}
    keys.update({search_key(term): None for term in terms})
    if len(keys) > MAX_SEARCH_KEYS:
        raise EntryRejected(f"the statement names more than {MAX_SEARCH_KEYS} digests")
    return CanonicalEntry(KIND, VERSION, _body(envelope, stated, digest), tuple(keys))


def parse_stored(spec: bytes | msgspec.Raw) -> CanonicalEntry:
    """Read a ``spec`` to look an entry up by: a proposal, or what a canonical body holds.

    The latter has no payload to verify; nothing may be logged on its word. Raises EntryRejected.
    """
    content, envelope, stated = _parse_spec(spec)
    if envelope.payload is not None:
        return parse_proposal(spec)
    return CanonicalEntry(KIND, VERSION, _body(envelope, stated, _digest(content.payload_hash)), ())


def _parse_spec(spec: bytes | msgspec.Raw) -> tuple[_Content, _Envelope, str]:
    """The content, its envelope, and the hash that the client states."""
    if bytes(spec).count(b",") > _MAX_ELEMENTS:
        raise EntryRejected(f"spec: has more than {_MAX_ELEMENTS} elements")
    try:
        content = _decode_spec(spec).content
    except (ValueError, RecursionError) as error:
        raise EntryRejected(f"spec: {error}") from error
    if content is None or content.envelope is None:
        raise EntryRejected("intoto content needs an envelope")
    if not content.envelope.signatures:
        raise EntryRejected("DSSE envelope must contain 1 or more signatures")
    if len(content.envelope.signatures) > MAX_SIGNATURES:
        raise EntryRejected(f"DSSE envelope has more than {MAX_SIGNATURES} signatures")
    return content, content.envelope, _digest(content.hash)


def _digest(stated: _Hash | None) -> str:
    if stated is None:
        raise EntryRejected("missing hash")
    if stated.algorithm != "sha256":
        raise EntryRejected("hash algorithm should be one of [sha256]")
    value = stated.value.lower()
    try:
        from_hex(value, "hash value", length=32)
    except FormatError as error:
        raise EntryRejected(str(error)) from error
    return value


def _inner(twice: str, what: str) -> str:
    """What is in base64 once, of what is in base64 twice."""
    return _decoded(twice, what).decode("utf-8", "replace")


def _decoded(text: str, what: str) -> bytes:
    return from_base64_bits(text.replace("\n", "").replace("\r", ""), what)


def _verifier(item: _Signature) -> Verifier:
    if not item.public_key:
        raise EntryRejected("a signature has no publicKey")
    try:
        return read_verifier(_decoded(item.public_key, "publicKey"))
    except (FormatError, EntryRejected) as error:
        raise EntryRejected(f"could not parse public key as x509: {error}") from error


def _body(envelope: _Envelope, stated: str, payload_digest: str) -> bytes:
    signatures: list[JSON] = []
    try:
        for item in envelope.signatures:
            kept: dict[str, JSON] = {
                "publicKey": to_base64(_decoded(item.public_key, "publicKey")),
                "sig": to_base64(_decoded(item.sig, "sig")),
            }
            signatures.append({**kept, "keyid": item.keyid} if item.keyid else kept)
        content: dict[str, JSON] = {
            "envelope": {"payloadType": envelope.payload_type, "signatures": signatures},
            "hash": {"algorithm": "sha256", "value": stated},
            "payloadHash": {"algorithm": "sha256", "value": payload_digest},
        }
        return canonical_json({"apiVersion": VERSION, "kind": KIND, "spec": {"content": content}})
    except FormatError as error:
        raise EntryRejected(str(error)) from error
