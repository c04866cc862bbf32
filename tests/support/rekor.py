# SPDX-License-Identifier: Apache-2.0
"""Proposed Rekor entries, made with real keys."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.intoto.envelope import pae

IN_TOTO = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 key and the PEM of its public half, as the log stores it."""

    private: ec.EllipticCurvePrivateKey
    pem: str

    @classmethod
    def new(cls) -> "SigningKey":
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(private, pem.decode())

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message, ec.ECDSA(SHA256()))


def b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def hashedrekord_spec(
    pem: str, signature: bytes, digest_hex: str, hash_name: str = "sha256"
) -> dict[str, Any]:
    return {
        "data": {"hash": {"algorithm": hash_name, "value": digest_hex}},
        "signature": {"content": b64(signature), "publicKey": {"content": b64(pem)}},
    }


def hashedrekord(key: SigningKey, artifact: bytes) -> dict[str, Any]:
    spec = hashedrekord_spec(key.pem, key.sign(artifact), hashlib.sha256(artifact).hexdigest())
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}


def envelope(payload: bytes, *keys: SigningKey, payload_type: str = IN_TOTO) -> str:
    signatures = [{"keyid": "", "sig": b64(key.sign(pae(payload_type, payload)))} for key in keys]
    return json.dumps(
        {"payloadType": payload_type, "payload": b64(payload), "signatures": signatures}
    )


def dsse(text: str, *pems: str) -> dict[str, Any]:
    content = {"envelope": text, "verifiers": [b64(pem) for pem in pems]}
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}}


def encode(value: object) -> bytes:
    return json.dumps(value).encode()
