# SPDX-License-Identifier: Apache-2.0
"""The trusted root: which logs and authorities are believed, with which keys, and when.

Read as other clients write it, written as all of them can read it. Keys and certificates are
looked at when they are needed, so one that cannot be used only refuses what depends on it.
"""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from countermark.core.bundle import protojson
from countermark.core.bundle.protojson import JSONObject
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_rfc3339, to_base64, to_rfc3339
from countermark.core.errors import FormatError

# What every client reads; sigstore-python, sigstore-go and sigstore-java accept nothing else.
MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_MEDIA_TYPES = (
    MEDIA_TYPE,
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)
_OID_RSA = "1.2.840.113549.1.1.1"
_HASH_NUMBERS = {0: "HASH_ALGORITHM_UNSPECIFIED", 1: "SHA2_256"}
_KEY_NUMBERS = {
    1: "PKCS1_RSA_PKCS1V5",
    2: "PKCS1_RSA_PSS",
    3: "PKIX_RSA_PKCS1V5",
    4: "PKIX_RSA_PSS",
    5: "PKIX_ECDSA_P256_SHA_256",
    6: "PKIX_ECDSA_P256_HMAC_SHA_256",
    7: "PKIX_ED25519",
    8: "PKIX_ED25519_PH",
    9: "PKIX_RSA_PKCS1V15_2048_SHA256",
    10: "PKIX_RSA_PKCS1V15_3072_SHA256",
    11: "PKIX_RSA_PKCS1V15_4096_SHA256",
    12: "PKIX_ECDSA_P384_SHA_384",
    13: "PKIX_ECDSA_P521_SHA_512",
    14: "LMS_SHA256",
    15: "LMOTS_SHA256",
    16: "PKIX_RSA_PSS_2048_SHA256",
    17: "PKIX_RSA_PSS_3072_SHA256",
    18: "PKIX_RSA_PSS_4096_SHA256",
    19: "PKIX_ECDSA_P384_SHA_256",
    20: "PKIX_ECDSA_P521_SHA_256",
    21: "ML_DSA_65",
    22: "ML_DSA_87",
    23: "ML_DSA_44",
}
MAX_TRUSTED_ROOT_BYTES = 4 * 1024 * 1024
_MAX_AUTHORITIES, _MAX_CHAIN = 256, 10


class Validity(NamedTuple):
    """A closed time range; `end` is inclusive, None means open."""

    start: datetime
    end: datetime | None = None

    def covers(self, time: datetime) -> bool:
        """Whether `time` lies in the range, ends included."""
        return self.start <= time and (self.end is None or time <= self.end)


class TransparencyLog(NamedTuple):
    """A signature log or a CT log.

    Attributes:
        base_url: where it is served.
        hash_algorithm: of its Merkle tree, e.g. ``SHA2_256``.
        key_bytes: the public key as the file has it.
        key_details: how to read `key_bytes` (PublicKeyDetails name).
        validity: when the key was the log's.
        log_id: full 32-byte key id: SHA-256 of the SPKI, or of origin and key for Ed25519.
        checkpoint_key_id: another id for checkpoints; empty almost always.
        operator: who runs it; empty if not said.
    """

    base_url: str
    hash_algorithm: str
    key_bytes: bytes
    key_details: str
    validity: Validity
    log_id: bytes
    checkpoint_key_id: bytes = b""
    operator: str = ""

    @property
    def public_key(self) -> PublicKey:
        """The log's key. Raises FormatError or AlgorithmRefused if it cannot be used."""
        return _public_key(self.key_bytes, self.key_details, f"key of log {self.base_url[:200]}")


class CertificateAuthority(NamedTuple):
    """A CA or a timestamp authority.

    Attributes:
        organization: O of the root's subject.
        common_name: CN of the root's subject.
        uri: where it is served.
        chain: DER certificates, leaf-most first, root last. A TSA's first one is its signer.
        validity: when it was believed.
        operator: who runs it; empty if not said.
    """

    organization: str
    common_name: str
    uri: str
    chain: tuple[bytes, ...]
    validity: Validity
    operator: str = ""

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The chain, parsed. Raises FormatError."""
        return _certificates(self.chain, self.uri)


class TrustedRoot(NamedTuple):
    """All that is believed."""

    tlogs: tuple[TransparencyLog, ...]
    certificate_authorities: tuple[CertificateAuthority, ...]
    ctlogs: tuple[TransparencyLog, ...]
    timestamp_authorities: tuple[CertificateAuthority, ...]

    @classmethod
    def parse(cls, data: bytes) -> "TrustedRoot":
        """Read a trusted root's JSON. Raises FormatError."""
        tree = protojson.parse_message(data, "trusted root", limit=MAX_TRUSTED_ROOT_BYTES)
        return cls.from_json(tree)

    @classmethod
    def from_json(cls, tree: JSONObject) -> "TrustedRoot":
        """Read a decoded trusted root, e.g. the one inside a ClientTrustConfig."""
        media_type = protojson.required_text(tree, "mediaType")
        if media_type not in _MEDIA_TYPES:
            raise FormatError("trusted root", f"media type {media_type[:80]!r} is not supported")
        return cls(
            _logs(tree, "tlogs"),
            _authorities(tree, "certificateAuthorities"),
            _logs(tree, "ctlogs"),
            _authorities(tree, "timestampAuthorities"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON tree, canonical proto3 JSON, in the order the public files have."""
        return {
            "mediaType": MEDIA_TYPE,
            "tlogs": [_log_tree(log) for log in self.tlogs],
            "certificateAuthorities": [
                _authority_tree(authority) for authority in self.certificate_authorities
            ],
            "ctlogs": [_log_tree(log) for log in self.ctlogs],
            "timestampAuthorities": [
                _authority_tree(authority) for authority in self.timestamp_authorities
            ],
        }

    def serialize(self) -> bytes:
        """The file, indented, final newline; ``parse`` gives the same value back."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


@lru_cache(maxsize=256)
def _public_key(data: bytes, details: str, what: str) -> PublicKey:
    if details.startswith("PKCS1_RSA"):
        # Staging's oldest CT log: a bare RSAPublicKey, though its id is that of the SPKI.
        algorithm = der.sequence(der.oid(_OID_RSA), der.NULL_VALUE)
        key = PublicKey.from_spki(der.sequence(algorithm, der.bit_string(data)), what)
        return key.used_as(details.replace("PKCS1_RSA", "PKIX_RSA", 1), what)
    return PublicKey.from_spki(data, what, registry=True).used_as(details, what)


@lru_cache(maxsize=256)
def _certificates(chain: tuple[bytes, ...], uri: str) -> tuple[Certificate, ...]:
    return tuple(Certificate.parse(data, f"chain of {uri[:200]}") for data in chain)


def _logs(tree: JSONObject, name: str) -> tuple[TransparencyLog, ...]:
    logs: list[TransparencyLog] = []
    for item in protojson.objects(tree, name, limit=_MAX_AUTHORITIES):
        key = protojson.required_object(item, "publicKey")
        checkpoint_id = protojson.optional_object(item, "checkpointKeyId") or {}
        log = TransparencyLog(
            protojson.text(item, "baseUrl"),
            protojson.enum(item, "hashAlgorithm", _HASH_NUMBERS),
            protojson.required_bytes(key, "rawBytes"),
            protojson.enum(key, "keyDetails", _KEY_NUMBERS),
            _validity(key),
            protojson.required_bytes(protojson.required_object(item, "logId"), "keyId"),
            protojson.raw_bytes(checkpoint_id, "keyId"),
            protojson.text(item, "operator"),
        )
        logs.append(log)
    return tuple(logs)


def _authorities(tree: JSONObject, name: str) -> tuple[CertificateAuthority, ...]:
    authorities: list[CertificateAuthority] = []
    for item in protojson.objects(tree, name, limit=_MAX_AUTHORITIES):
        subject = protojson.optional_object(item, "subject") or {}
        chain = protojson.required_object(item, "certChain")
        certificates = protojson.objects(chain, "certificates", limit=_MAX_CHAIN)
        if not certificates:
            raise FormatError(name, "has an authority without certificates")
        authority = CertificateAuthority(
            protojson.text(subject, "organization"),
            protojson.text(subject, "commonName"),
            protojson.text(item, "uri"),
            tuple(protojson.required_bytes(part, "rawBytes") for part in certificates),
            _validity(item),
            protojson.text(item, "operator"),
        )
        authorities.append(authority)
    return tuple(authorities)


def _validity(parent: JSONObject) -> Validity:
    # A missing start is refused rather than read as "since ever" (sigstore-js reads it so).
    tree = protojson.required_object(parent, "validFor")
    end = protojson.text(tree, "end")
    return Validity(
        from_rfc3339(protojson.required_text(tree, "start"), "validFor.start"),
        from_rfc3339(end, "validFor.end") if end else None,
    )


def _validity_tree(validity: Validity) -> dict[str, str]:
    tree = {"start": to_rfc3339(validity.start)}
    if validity.end is not None:
        tree["end"] = to_rfc3339(validity.end)
    return tree


def _log_tree(log: TransparencyLog) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "baseUrl": log.base_url,
        "hashAlgorithm": log.hash_algorithm,
        "publicKey": {
            "rawBytes": to_base64(log.key_bytes),
            "keyDetails": log.key_details,
            "validFor": _validity_tree(log.validity),
        },
        "logId": {"keyId": to_base64(log.log_id)},
    }
    if log.checkpoint_key_id:
        tree["checkpointKeyId"] = {"keyId": to_base64(log.checkpoint_key_id)}
    if log.operator:
        tree["operator"] = log.operator
    return tree


def _authority_tree(authority: CertificateAuthority) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "subject": {
            "organization": authority.organization,
            "commonName": authority.common_name,
        },
        "uri": authority.uri,
        "certChain": {"certificates": [{"rawBytes": to_base64(data)} for data in authority.chain]},
        "validFor": _validity_tree(authority.validity),
    }
    if authority.operator:
        tree["operator"] = authority.operator
    return tree
