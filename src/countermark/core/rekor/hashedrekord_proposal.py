# SPDX-License-Identifier: Apache-2.0
"""hashedrekord 0.0.1 as clients submit it: read, verified, and turned into the canonical body."""

from binascii import b2a_base64
from typing import Final

import msgspec

from countermark.core.crypto.certificate import Certificate
from countermark.core.encoding import from_base64_bits, from_hex
from countermark.core.errors import ChainInvalid, FormatError
from countermark.core.rekor.chain import check_chain
from countermark.core.rekor.entry import CanonicalEntry, EntryRejected, search_key
from countermark.core.rekor.hashedrekord import DIGEST_BYTES, KIND, VERSION, body_of_base64
from countermark.core.rekor.signatures import verify_signature
from countermark.core.rekor.verifiers import Verifier, read_verifier

MAX_SIGNATURE_BYTES: Final = 4096
# Rekor's default registry: what a key of each kind must hash with here. Ed25519 is Ed25519ph.
_ALLOWED: Final = {
    "PKIX_ECDSA_P256_SHA_256": "sha256",
    "PKIX_ECDSA_P384_SHA_384": "sha384",
    "PKIX_ECDSA_P521_SHA_512": "sha512",
    "PKIX_RSA_PKCS1V15_2048_SHA256": "sha256",
    "PKIX_RSA_PKCS1V15_3072_SHA256": "sha256",
    "PKIX_RSA_PKCS1V15_4096_SHA256": "sha256",
    "PKIX_ED25519": "sha512",
}


class _Hash(msgspec.Struct):
    algorithm: str | None = None
    value: str | None = None


class _Data(msgspec.Struct):
    hash: _Hash | None = None


class _PublicKey(msgspec.Struct):
    content: str | None = None


class _Signature(msgspec.Struct):
    content: str | None = None
    public_key: _PublicKey | None = msgspec.field(default=None, name="publicKey")


class _Spec(msgspec.Struct):
    data: _Data | None = None
    signature: _Signature | None = None


_decode = msgspec.json.Decoder(_Spec).decode


def parse_proposal(spec: bytes | msgspec.Raw) -> CanonicalEntry:
    """Read and verify the ``spec`` of a proposed entry, or of a canonical body.

    Raises EntryRejected. Does not ask who the key belongs to, nor whether a certificate is valid
    now: a log admits any signature that holds.
    """
    try:
        proposal = _decode(spec)
    except (ValueError, RecursionError) as error:
        raise EntryRejected(f"spec: {error}") from error
    signature, key_content, hash_name, digest_hex = _required(proposal)
    try:
        signature_bytes = from_base64_bits(_unfolded(signature), "signature.content")
        content = from_base64_bits(_unfolded(key_content), "signature.publicKey.content")
    except FormatError as error:
        raise EntryRejected(str(error)) from error
    if not 0 < len(signature_bytes) <= MAX_SIGNATURE_BYTES:
        raise EntryRejected("signature.content: is empty or too large")
    verifier = read_verifier(content)
    # Lower-cased, as a digest in upper case would give a second leaf for the same signature.
    digest_hex = digest_hex.lower()
    try:
        digest = from_hex(digest_hex, "hash", length=DIGEST_BYTES[hash_name])
    except FormatError as error:
        raise EntryRejected("invalid value for hash") from error
    _verify(verifier, signature_bytes, digest, hash_name)
    # Only now: upstream reports a bad signature before a combination that is not allowed.
    if _ALLOWED[verifier.key.details] != hash_name:
        raise EntryRejected("entry algorithms are not allowed")
    encoded = b2a_base64(signature_bytes, newline=False).decode("ascii")
    body = body_of_base64(hash_name, digest_hex, encoded, verifier.pem_base64)
    keys, of_digest = verifier.search_keys, search_key(f"{hash_name}:{digest_hex}")
    if of_digest not in keys:
        keys = (*keys, of_digest)
    return CanonicalEntry(KIND, VERSION, body, keys)


def _required(proposal: _Spec) -> tuple[str, str, str, str]:
    """Signature, key, hash algorithm and hash value, if all are there."""
    signature, data = proposal.signature, proposal.data
    if signature is None:
        raise EntryRejected("missing signature")
    if signature.public_key is None or not signature.public_key.content:
        raise EntryRejected("missing public key")
    if not signature.content:
        raise EntryRejected("missing signature content")
    if data is None:
        raise EntryRejected("missing data")
    if data.hash is None or data.hash.value is None:
        raise EntryRejected("missing hash")
    if data.hash.algorithm not in DIGEST_BYTES:
        names = " ".join(DIGEST_BYTES)
        raise EntryRejected(f"data.hash.algorithm in body should be one of [{names}]")
    return signature.content, signature.public_key.content, data.hash.algorithm, data.hash.value


def _unfolded(text: str) -> str:
    """Without the line ends that Go's base64 reader passes over."""
    return text.replace("\n", "").replace("\r", "") if "\n" in text or "\r" in text else text


def _verify(verifier: Verifier, signature: bytes, digest: bytes, hash_name: str) -> None:
    try:
        if len(verifier.certificates) > 1:
            check_chain([Certificate.parse(data) for data in verifier.certificates])
        verify_signature(verifier.key, signature, digest, hash_name)
    except (EntryRejected, ChainInvalid, FormatError) as error:
        raise EntryRejected(f"verifying signature: {error}") from error
