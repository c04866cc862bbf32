# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundles, versions 0.1 to 0.3: everything needed to verify one signature offline.

Parsing checks the shape that the bundle's version prescribes and nothing else; the verifier
decides what it proves. `serialize` writes version 0.3, canonically.
"""

import json
from typing import Any, NamedTuple, TypeAlias

from countermark.core.bundle import protojson
from countermark.core.bundle.protojson import JSONObject
from countermark.core.encoding import to_base64
from countermark.core.errors import FormatError
from countermark.core.intoto.envelope import Envelope, EnvelopeSignature

MEDIA_TYPE_V03 = "application/vnd.dev.sigstore.bundle.v0.3+json"
_VERSIONS = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": "0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2": "0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3": "0.3",
    MEDIA_TYPE_V03: "0.3",
}
HASH_ALGORITHMS = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}
_HASH_NUMBERS = {
    0: "HASH_ALGORITHM_UNSPECIFIED",
    1: "SHA2_256",
    2: "SHA2_384",
    3: "SHA2_512",
    4: "SHA3_256",
    5: "SHA3_384",
}
MAX_BUNDLE_BYTES = 16 * 1024 * 1024
MAX_ENTRIES, MAX_TIMESTAMPS, MAX_CERTIFICATES, MAX_PROOF_HASHES = 32, 32, 10, 64
_MAX_SIGNATURES = 16


class InclusionProof(NamedTuple):
    """A Merkle path from a leaf to a root, with the checkpoint that states the root.

    Attributes:
        log_index: index of the leaf in its tree (the shard's own tree).
        root_hash: the root it leads to, 32 bytes.
        tree_size: number of leaves under that root.
        hashes: sibling hashes, from the leaf upwards.
        checkpoint: the signed note; empty only in version 0.1.
    """

    log_index: int
    root_hash: bytes
    tree_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str


class TransparencyLogEntry(NamedTuple):
    """One log entry as bundles carry it.

    Attributes:
        log_index: the entry's index over all shards of a v1 log; the leaf index in v2.
        log_id: the log's full key id, 32 bytes.
        kind: entry kind, e.g. ``hashedrekord``.
        version: entry kind's version, e.g. ``0.0.1``.
        integrated_time: Unix seconds, 0 if there is none; means nothing without a promise.
        inclusion_promise: the SET, empty if there is none.
        inclusion_proof: the proof, if there is one.
        canonicalized_body: the bytes of the leaf.
    """

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated_time: int
    inclusion_promise: bytes
    inclusion_proof: InclusionProof | None
    canonicalized_body: bytes


class MessageSignature(NamedTuple):
    """A signature over an artifact itself.

    Attributes:
        signature: the raw signature.
        hash_algorithm: as in `HASH_ALGORITHMS`, empty if not said.
        digest: the artifact's digest, an unauthenticated hint; empty if not said.
    """

    signature: bytes
    hash_algorithm: str
    digest: bytes


Content: TypeAlias = MessageSignature | Envelope


class Bundle(NamedTuple):
    """A parsed bundle of known version and right shape, nothing verified.

    Attributes:
        version: ``0.1``, ``0.2`` or ``0.3``; ``legacy`` for what `legacy` put together.
        certificates: DER, leaf first, of a keyless signature; empty for a managed key.
        public_key_hint: names the managed key; None for a keyless signature.
        tlog_entries: in the order of the bundle.
        timestamps: DER TimeStampResp each.
        content: what was signed, and the signature.
        detached_scts: SCTs over the whole certificate that came apart from it; no version of the
            format can hold them, so they are in ``legacy`` ones only.
    """

    version: str
    certificates: tuple[bytes, ...]
    public_key_hint: str | None
    tlog_entries: tuple[TransparencyLogEntry, ...]
    timestamps: tuple[bytes, ...]
    content: Content
    detached_scts: tuple[bytes, ...] = ()

    @property
    def signature(self) -> bytes:
        """The signature bytes, which timestamps are made over."""
        if isinstance(self.content, Envelope):
            return self.content.signatures[0].sig
        return self.content.signature

    @classmethod
    def parse(cls, data: bytes) -> "Bundle":
        """Read a bundle's JSON. Raises FormatError."""
        return _parse_bundle(protojson.parse_message(data, "bundle", limit=MAX_BUNDLE_BYTES))

    def serialize(self) -> bytes:
        """Write as version 0.3 JSON, whatever version was read.

        Raises FormatError if the content does not fit that version (a chain, no proof).
        """
        tree = _bundle_tree(self)
        _parse_bundle(tree)
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _parse_bundle(tree: JSONObject) -> Bundle:
    media_type = protojson.required_text(tree, "mediaType")
    if media_type not in _VERSIONS:
        raise FormatError("bundle", f"media type {media_type[:80]!r} is not supported")
    version = _VERSIONS[media_type]
    material = protojson.required_object(tree, "verificationMaterial")
    certificates, hint = _parse_signer(material, version)
    entries = protojson.objects(material, "tlogEntries", limit=MAX_ENTRIES)
    data = protojson.optional_object(material, "timestampVerificationData") or {}
    stamps = protojson.objects(data, "rfc3161Timestamps", limit=MAX_TIMESTAMPS)
    bundle = Bundle(
        version,
        certificates,
        hint,
        tuple(_parse_entry(entry, version) for entry in entries),
        tuple(protojson.required_bytes(stamp, "signedTimestamp") for stamp in stamps),
        _parse_content(tree),
    )
    if len({(entry.log_id, entry.log_index) for entry in bundle.tlog_entries}) < len(entries):
        raise FormatError("tlogEntries", "holds an entry twice")
    if len(set(bundle.timestamps)) < len(stamps):
        raise FormatError("rfc3161Timestamps", "holds a timestamp twice")
    return bundle


def _parse_signer(material: JSONObject, version: str) -> tuple[tuple[bytes, ...], str | None]:
    key = protojson.optional_object(material, "publicKey")
    chain = protojson.optional_object(material, "x509CertificateChain")
    single = protojson.optional_object(material, "certificate")
    if sum(choice is not None for choice in (key, chain, single)) != 1:
        raise FormatError("verificationMaterial", "needs exactly one key, certificate or chain")
    if key is not None:
        return (), protojson.text(key, "hint")
    if single is not None:
        if version != "0.3":
            raise FormatError("certificate", f"does not belong in a version {version} bundle")
        return (protojson.required_bytes(single, "rawBytes"),), None
    assert chain is not None
    if version == "0.3":
        raise FormatError("x509CertificateChain", "does not belong in a version 0.3 bundle")
    items = protojson.objects(chain, "certificates", limit=MAX_CERTIFICATES)
    if not items:
        raise FormatError("x509CertificateChain", "is empty")
    return tuple(protojson.required_bytes(item, "rawBytes") for item in items), None


def _parse_content(tree: JSONObject) -> Content:
    message = protojson.optional_object(tree, "messageSignature")
    envelope = protojson.optional_object(tree, "dsseEnvelope")
    if (message is None) == (envelope is None):
        raise FormatError("bundle", "needs exactly one of messageSignature and dsseEnvelope")
    if message is not None:
        digest = protojson.optional_object(message, "messageDigest")
        return MessageSignature(
            protojson.required_bytes(message, "signature"),
            protojson.enum(digest or {}, "algorithm", _HASH_NUMBERS),
            b"" if digest is None else protojson.required_bytes(digest, "digest"),
        )
    assert envelope is not None
    return parse_envelope(envelope)


def parse_envelope(envelope: JSONObject) -> Envelope:
    """Read a DSSE envelope's JSON; it must have one signature. Raises FormatError."""
    signatures = protojson.objects(envelope, "signatures", limit=_MAX_SIGNATURES)
    if len(signatures) != 1:
        raise FormatError("dsseEnvelope", f"has {len(signatures)} signatures instead of one")
    return Envelope(
        protojson.raw_bytes(envelope, "payload"),
        protojson.required_text(envelope, "payloadType"),
        tuple(
            EnvelopeSignature(protojson.required_bytes(item, "sig"), protojson.text(item, "keyid"))
            for item in signatures
        ),
    )


def _parse_entry(tree: JSONObject, version: str) -> TransparencyLogEntry:
    kind = protojson.required_object(tree, "kindVersion")
    promise = protojson.optional_object(tree, "inclusionPromise") or {}
    proof = protojson.optional_object(tree, "inclusionProof")
    entry = TransparencyLogEntry(
        protojson.int64(tree, "logIndex"),
        protojson.required_bytes(protojson.required_object(tree, "logId"), "keyId", length=32),
        protojson.required_text(kind, "kind"),
        protojson.required_text(kind, "version"),
        protojson.int64(tree, "integratedTime"),
        protojson.raw_bytes(promise, "signedEntryTimestamp"),
        None if proof is None else _parse_proof(proof),
        protojson.required_bytes(tree, "canonicalizedBody"),
    )
    if version == "0.1":
        if not entry.inclusion_promise:
            raise FormatError("inclusionPromise", "is missing, and version 0.1 needs it")
    elif entry.inclusion_proof is None or not entry.inclusion_proof.checkpoint:
        raise FormatError("inclusionProof", f"is missing its proof or checkpoint ({version})")
    return entry


def _parse_proof(tree: JSONObject) -> InclusionProof:
    checkpoint = protojson.optional_object(tree, "checkpoint") or {}
    return InclusionProof(
        protojson.int64(tree, "logIndex"),
        protojson.required_bytes(tree, "rootHash", length=32),
        protojson.int64(tree, "treeSize"),
        tuple(protojson.required_bytes_list(tree, "hashes", length=32, limit=MAX_PROOF_HASHES)),
        protojson.text(checkpoint, "envelope"),
    )


def _bundle_tree(bundle: Bundle) -> dict[str, Any]:
    if bundle.detached_scts:
        raise FormatError("bundle", "version 0.3 holds no detached SCTs")
    material: dict[str, Any] = {}
    if bundle.public_key_hint is not None:
        material["publicKey"] = {"hint": bundle.public_key_hint}
    else:
        if len(bundle.certificates) != 1:
            raise FormatError("bundle", "version 0.3 holds exactly one certificate")
        material["certificate"] = {"rawBytes": to_base64(bundle.certificates[0])}
    material["tlogEntries"] = [_entry_tree(entry) for entry in bundle.tlog_entries]
    if bundle.timestamps:
        stamps = [{"signedTimestamp": to_base64(stamp)} for stamp in bundle.timestamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    tree: dict[str, Any] = {"mediaType": MEDIA_TYPE_V03, "verificationMaterial": material}
    content = bundle.content
    if isinstance(content, Envelope):
        tree["dsseEnvelope"] = {
            "payload": to_base64(content.payload),
            "payloadType": content.payload_type,
            "signatures": [
                {"sig": to_base64(item.sig)} | ({"keyid": item.keyid} if item.keyid else {})
                for item in content.signatures
            ],
        }
        return tree
    message: dict[str, Any] = {}
    if content.digest:
        digest = {"algorithm": content.hash_algorithm, "digest": to_base64(content.digest)}
        message["messageDigest"] = digest
    message["signature"] = to_base64(content.signature)
    tree["messageSignature"] = message
    return tree


def _entry_tree(entry: TransparencyLogEntry) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "logIndex": str(entry.log_index),
        "logId": {"keyId": to_base64(entry.log_id)},
        "kindVersion": {"kind": entry.kind, "version": entry.version},
    }
    if entry.integrated_time:
        tree["integratedTime"] = str(entry.integrated_time)
    if entry.inclusion_promise:
        tree["inclusionPromise"] = {"signedEntryTimestamp": to_base64(entry.inclusion_promise)}
    if (proof := entry.inclusion_proof) is not None:
        tree["inclusionProof"] = {
            "logIndex": str(proof.log_index),
            "rootHash": to_base64(proof.root_hash),
            "treeSize": str(proof.tree_size),
            "hashes": [to_base64(item) for item in proof.hashes],
            "checkpoint": {"envelope": proof.checkpoint},
        }
    tree["canonicalizedBody"] = to_base64(entry.canonicalized_body)
    return tree
