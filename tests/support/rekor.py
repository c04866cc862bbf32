# SPDX-License-Identifier: Apache-2.0
"""Proposed Rekor entries, made with real keys."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from countermark.core.intoto.envelope import pae
from tests.support.vectors import vectors

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


def intoto(text: str, *pems: str) -> dict[str, Any]:
    """intoto 0.0.2, as sigstore-js has it: the keys of the signatures in their order."""
    tree = json.loads(text)
    signatures = [
        {"sig": b64(item["sig"]), "publicKey": b64(pem)}
        for item, pem in zip(tree["signatures"], pems, strict=True)
    ]
    content = {
        "envelope": {
            "payloadType": tree["payloadType"],
            "payload": b64(tree["payload"]),
            "signatures": signatures,
        },
        "hash": {"algorithm": "sha256", "value": hashlib.sha256(text.encode()).hexdigest()},
    }
    return {"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}}


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def certificate(
    key: SigningKey,
    names: Sequence[x509.GeneralName] = (),
    *,
    issuer: "Issuer | None" = None,
    ca: bool = False,
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    subject: x509.Name | None = None,
    path_length: int | None = None,
) -> x509.Certificate:
    """A certificate for `key` that lasts ten minutes (a CA's: ten years)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority" if ca else "leaf")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number() | 1 << 158)  # always 20 bytes
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650 if ca else 0, minutes=10))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    signer = issuer.key if issuer else key
    return builder.sign(signer.private, SHA256())


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that signs certificates."""

    key: SigningKey
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> "Issuer":
        key = SigningKey.new()
        return cls(key, certificate(key, ca=True))


def pem_of(*certificates: x509.Certificate) -> str:
    return "".join(item.public_bytes(Encoding.PEM).decode() for item in certificates)


def vector(path: str) -> bytes:
    """A file of the test data; skips the test if that is absent."""
    return vectors(path).read_bytes()


def vector_folders(path: str) -> list[Path]:
    """The folders below a folder of the test data."""
    return sorted(item for item in vectors(path).iterdir() if item.is_dir())
