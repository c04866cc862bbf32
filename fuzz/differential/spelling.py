# SPDX-License-Identifier: Apache-2.0
"""In which of the known ways a bundle's JSON departs from canonical proto3 JSON."""

import json
import re
from typing import Any

_TEXT, _INTEGER, _BYTES, _ENUM = "text", "integer", "bytes", "enum"
_CERTIFICATE = {"rawBytes": _BYTES}
_PROOF = {
    "logIndex": _INTEGER,
    "rootHash": _BYTES,
    "treeSize": _INTEGER,
    "hashes": _BYTES,
    "checkpoint": {"envelope": _TEXT},
}
_ENTRY = {
    "logIndex": _INTEGER,
    "logId": {"keyId": _BYTES},
    "kindVersion": {"kind": _TEXT, "version": _TEXT},
    "integratedTime": _INTEGER,
    "inclusionPromise": {"signedEntryTimestamp": _BYTES},
    "inclusionProof": _PROOF,
    "canonicalizedBody": _BYTES,
}
_BUNDLE = {
    "mediaType": _TEXT,
    "verificationMaterial": {
        "publicKey": {"hint": _TEXT},
        "x509CertificateChain": {"certificates": _CERTIFICATE},
        "certificate": _CERTIFICATE,
        "tlogEntries": _ENTRY,
        "timestampVerificationData": {"rfc3161Timestamps": {"signedTimestamp": _BYTES}},
    },
    "messageSignature": {
        "messageDigest": {"algorithm": _ENUM, "digest": _BYTES},
        "signature": _BYTES,
    },
    "dsseEnvelope": {
        "payload": _BYTES,
        "payloadType": _TEXT,
        "signatures": {"sig": _BYTES, "keyid": _TEXT},
    },
}
_NOT_ZERO = (_ENTRY, _PROOF)
_STANDARD = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


def spellings(data: bytes) -> set[str]:
    """The ids of `rules.SPELLINGS` that are met in a bundle."""
    return set(_found(json.loads(data), _BUNDLE))


def _found(value: Any, schema: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _found(item, schema)]
    if value in (None, "", {}):
        return ["empty-for-absent"]
    if isinstance(schema, dict):
        return _in_message(value, schema) if isinstance(value, dict) else []
    if isinstance(value, int):
        return {_INTEGER: ["number-for-string"], _ENUM: ["enum-number"]}.get(schema, [])
    if schema == _BYTES and not (isinstance(value, str) and _STANDARD.fullmatch(value)):
        return ["url-safe-or-unpadded-base64"]
    return []


def _in_message(message: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    found: list[str] = []
    names = {_json_name(key): key for key in message}
    for name, key in names.items():
        if name not in schema:
            found.append("unknown-fields")
            continue
        if name != key:
            found.append("proto-names")
        found += _found(message[key], schema[name]) if message[key] != [] else ["empty-for-absent"]
    if schema in _NOT_ZERO and "logIndex" not in names:
        found.append("absent-for-zero")
    return found


def _json_name(key: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), key)
