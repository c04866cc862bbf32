# SPDX-License-Identifier: Apache-2.0
"""dsse 0.0.1 as clients submit it: read, verified, and turned into the canonical body."""

import hashlib
from typing import Final

import msgspec

from countermark.core.encoding import (
    from_base64,
    from_base64_bits,
    from_base64_lenient,
    from_hex,
    to_base64,
)
from countermark.core.errors import FormatError
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, pae
from countermark.core.rekor.dsse_entry import KIND, VERSION, body_of_base64
from countermark.core.rekor.entry import (
    MAX_SEARCH_KEYS,
    CanonicalEntry,
    EntryRejected,
    search_key,
)
from countermark.core.rekor.signatures import verify_message
from countermark.core.rekor.statement_terms import statement_terms
from countermark.core.rekor.verifiers import Verifier, read_verifier

# Every verifier may have to be tried on every signature, each time over the whole message.
MAX_SIGNATURES: Final = 16
MAX_VERIFIERS: Final = 16
MAX_VERIFIED_BYTES: Final = 256 * 1024 * 1024
# In checks of a P-256 signature, some 0.1 ms each; OpenSSL is slow with the larger curves.
MAX_CHECKS: Final = 256
_COSTS: Final = {"PKIX_ECDSA_P384_SHA_384": 8, "PKIX_ECDSA_P521_SHA_512": 16}
# What is read costs memory by its elements, of which "{}," is one: 16 MB of them would be 400.
_MAX_ENVELOPE_ELEMENTS: Final = 64 * 1024


class _Hash(msgspec.Struct):
    algorithm: str | None = None
    value: str | None = None


class _StoredSignature(msgspec.Struct):
    signature: str | None = None
    verifier: str | None = None


class _ProposedContent(msgspec.Struct):
    envelope: str | None = None
    verifiers: list[str] | None = None


class _Spec(msgspec.Struct):
    proposed: _ProposedContent | None = msgspec.field(default=None, name="proposedContent")
    envelope_hash: _Hash | None = msgspec.field(default=None, name="envelopeHash")
    payload_hash: _Hash | None = msgspec.field(default=None, name="payloadHash")
    signatures: list[_StoredSignature] | None = None


class _EnvelopeSignature(msgspec.Struct):
    sig: str | None = None  # `keyid` is ignored, as upstream ignores it


class _Envelope(msgspec.Struct):
    payload: str | None = None
    payload_type: str | None = msgspec.field(default=None, name="payloadType")
    signatures: list[_EnvelopeSignature] | None = None


_decode_spec = msgspec.json.Decoder(_Spec).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def parse_proposal(spec: bytes | msgspec.Raw) -> CanonicalEntry:
    """Read and verify the ``spec`` of a proposed entry. Raises EntryRejected.

    Every signature of the envelope must verify under a key of its own among the verifiers.
    Does not ask who the keys belong to.
    """
    parsed = _parse_spec(spec)
    if parsed.proposed is None:
        raise EntryRejected("missing proposed content")
    if parsed.envelope_hash or parsed.payload_hash or parsed.signatures:
        raise EntryRejected(
            "either proposedContent or envelopeHash, payloadHash, and signatures must be present"
            " but not both"
        )
    text, verifiers = parsed.proposed.envelope, parsed.proposed.verifiers
    if text is None or not verifiers:
        raise EntryRejected("proposedContent needs an envelope and verifiers")
    if len(verifiers) > MAX_VERIFIERS:
        raise EntryRejected(f"more than {MAX_VERIFIERS} verifiers")
    if text.count(",") > _MAX_ENVELOPE_ELEMENTS:
        raise EntryRejected(f"envelope: has more than {_MAX_ENVELOPE_ELEMENTS} elements")
    try:
        envelope = _decode_envelope(text)
    except (ValueError, RecursionError) as error:
        raise EntryRejected(f"envelope: {error}") from error
    payload_type = envelope.payload_type or ""
    try:
        payload = from_base64_lenient(envelope.payload or "", "payload")
    except FormatError as error:
        raise EntryRejected(f"could not verify envelope: {error}") from error
    covered = _verify_envelope(envelope, pae(payload_type, payload), verifiers)
    envelope_hash = hashlib.sha256(text.encode("utf-8")).hexdigest()
    payload_hash = hashlib.sha256(payload).hexdigest()
    terms = {f"sha256:{envelope_hash}": None, f"sha256:{payload_hash}": None}
    if payload_type == PAYLOAD_TYPE_IN_TOTO:
        terms.update(dict.fromkeys(statement_terms(payload)))
    keys = {key: None for verifier in covered.values() for key in verifier.search_keys}
    keys.update({search_key(term): None for term in terms})
    if len(keys) > MAX_SEARCH_KEYS:
        raise EntryRejected(f"the statement names more than {MAX_SEARCH_KEYS} digests")
    body = body_of_base64(
        envelope_hash,
        payload_hash,
        [(signature, verifier.pem_base64) for signature, verifier in covered.items()],
    )
    return CanonicalEntry(KIND, VERSION, body, tuple(keys))


def parse_stored(spec: bytes | msgspec.Raw) -> CanonicalEntry:
    """Read a ``spec`` to look an entry up by: a proposal, or what a canonical body holds.

    The latter has no envelope to verify; nothing may be logged on its word. Raises EntryRejected.
    """
    parsed = _parse_spec(spec)
    if parsed.proposed is not None:
        return parse_proposal(spec)
    if not (parsed.envelope_hash and parsed.payload_hash and parsed.signatures):
        raise EntryRejected(
            "either proposedContent or envelopeHash, payloadHash, and signatures must be present"
        )
    try:
        envelope_hash = _stored_hash(parsed.envelope_hash)
        payload_hash = _stored_hash(parsed.payload_hash)
        signatures = [
            (_exact(stored.signature, "signature"), _exact(stored.verifier, "verifier"))
            for stored in parsed.signatures
        ]
    except FormatError as error:
        raise EntryRejected(str(error)) from error
    body = body_of_base64(envelope_hash, payload_hash, signatures)
    return CanonicalEntry(KIND, VERSION, body, ())


def _parse_spec(spec: bytes | msgspec.Raw) -> _Spec:
    try:
        return _decode_spec(spec)
    except (ValueError, RecursionError) as error:
        raise EntryRejected(f"spec: {error}") from error


def _stored_hash(stored: _Hash) -> str:
    if stored.algorithm != "sha256":
        raise FormatError("hash algorithm", "should be one of [sha256]")
    value = (stored.value or "").lower()
    from_hex(value, "hash value", length=32)
    return value


def _exact(text: str | None, what: str) -> str:
    if not text:
        raise FormatError(what, "is missing")
    return to_base64(from_base64(text, what))


def _verify_envelope(
    envelope: _Envelope, message: bytes, verifiers: list[str]
) -> dict[str, Verifier]:
    """Who made each signature, by its standard base64. Go's dsse, as Rekor drives it."""
    if not envelope.signatures:
        raise EntryRejected("DSSE envelope must contain 1 or more signatures")
    if len(envelope.signatures) > MAX_SIGNATURES:
        raise EntryRejected(f"DSSE envelope has more than {MAX_SIGNATURES} signatures")
    try:
        # URL-safe signatures are taken and stored in the standard alphabet.
        signatures = [from_base64_lenient(item.sig or "", "sig") for item in envelope.signatures]
    except FormatError as error:
        raise EntryRejected(f"could not verify envelope: {error}") from error
    if len(signatures) * len(verifiers) * len(message) > MAX_VERIFIED_BYTES:
        raise EntryRejected("DSSE envelope is too large for so many signatures and verifiers")
    open_signatures = set(signatures)
    covered: dict[str, Verifier] = {}
    checks = 0
    for encoded in verifiers:
        if not open_signatures:
            break  # later verifiers are neither checked nor stored
        try:
            unfolded = encoded.replace("\n", "").replace("\r", "")
            verifier = read_verifier(from_base64_bits(unfolded, "verifier"))
        except (FormatError, EntryRejected) as error:
            raise EntryRejected(f"could not parse public key as x509: {error}") from error
        checks += _COSTS.get(verifier.key.details, 1) * len(signatures)
        if checks > MAX_CHECKS:
            raise EntryRejected("DSSE envelope has too many signatures for keys so slow to check")
        # A key counts for the first signature it fits, so it never vouches for two.
        signature = next((sig for sig in signatures if _verifies(verifier, sig, message)), None)
        if signature is None:
            raise EntryRejected(
                "could not verify envelope: accepted signatures do not match threshold,"
                " Found: 0, Expected 1"
            )
        open_signatures.discard(signature)
        covered[to_base64(signature)] = verifier
    if open_signatures:
        raise EntryRejected("all signatures must have a key that verifies it")
    return covered


def _verifies(verifier: Verifier, signature: bytes, message: bytes) -> bool:
    try:
        verify_message(verifier.key, signature, message)
    except EntryRejected:
        return False
    return True
