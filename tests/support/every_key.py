# SPDX-License-Identifier: Apache-2.0
"""Signers of every algorithm in Sigstore's registry, and bundles of their managed keys."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.bundle.bundle import Bundle, Content, MessageSignature
from countermark.core.crypto.ed25519ph import _BASE, _DOM2, _IDENTITY, _L, _encode, _two_products
from countermark.core.crypto.keys import PublicKey
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope, EnvelopeSignature
from tests.support.forge import ARTIFACT, Forge, Plan, statement
from tests.support.made_certificates import b64, canonical

_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_CURVES = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1(), "P521": ec.SECP521R1()}
REGISTRY = (
    "PKIX_ECDSA_P256_SHA_256",
    "PKIX_ECDSA_P384_SHA_384",
    "PKIX_ECDSA_P384_SHA_256",
    "PKIX_ECDSA_P521_SHA_512",
    "PKIX_ECDSA_P521_SHA_256",
    "PKIX_RSA_PKCS1V15_2048_SHA256",
    "PKIX_RSA_PKCS1V15_3072_SHA256",
    "PKIX_RSA_PKCS1V15_4096_SHA256",
    "PKIX_RSA_PSS_2048_SHA256",
    "PKIX_RSA_PSS_3072_SHA256",
    "PKIX_RSA_PSS_4096_SHA256",
    "PKIX_ED25519",
    "PKIX_ED25519_PH",
)


class Kind(NamedTuple):
    """One way to sign: its name in the registry, the SPKI, the hash, and how."""

    details: str
    spki: bytes
    hash_name: str
    sign: Callable[[bytes], bytes]

    @property
    def key(self) -> PublicKey:
        return PublicKey.from_spki(self.spki)


@cache
def kind_of(details: str) -> Kind:
    """A signer of that name with a key of its own, one a process."""
    words = details.split("_")
    hash_name = f"sha{words[-1].removeprefix('SHA')}"
    if words[1] == "ECDSA":
        curve_key = ec.generate_private_key(_CURVES[words[2]])
        algorithm = ec.ECDSA(_HASHES[hash_name])
        return Kind(details, _spki(curve_key), hash_name, lambda m: curve_key.sign(m, algorithm))
    if words[1] == "RSA":
        rsa_key = _rsa(int(words[3]))
        scheme: Any = padding.PKCS1v15()
        if words[2] == "PSS":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return Kind(
            details, _spki(rsa_key), hash_name, lambda m: rsa_key.sign(m, scheme, hashes.SHA256())
        )
    edwards = ed25519.Ed25519PrivateKey.generate()
    if words[-1] == "PH":
        return Kind(details, _spki(edwards), "sha512", lambda m: sign_ed25519ph(edwards, m))
    return Kind(details, _spki(edwards), "", edwards.sign)


@cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _spki(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def sign_ed25519ph(key: ed25519.Ed25519PrivateKey, message: bytes) -> bytes:
    """RFC 8032 section 5.1.6 with the prefix of Ed25519ph; slow, and for tests only."""
    secret = hashlib.sha512(key.private_bytes_raw()).digest()
    scalar = int.from_bytes(secret[:32], "little") & (1 << 254) - 8 | 1 << 254
    digest = hashlib.sha512(message).digest()
    nonce = hashlib.sha512(_DOM2 + secret[32:] + digest).digest()
    r = int.from_bytes(nonce, "little") % _L
    point = _encode(_two_products(r, _BASE, 0, _IDENTITY))
    public = key.public_key().public_bytes_raw()
    k = int.from_bytes(hashlib.sha512(_DOM2 + point + public + digest).digest(), "little")
    return point + ((r + k * scalar) % _L).to_bytes(32, "little")


def signed_content(kind: Kind, *, envelope: bool, artifact: bytes = ARTIFACT) -> Content:
    if not envelope:
        return MessageSignature(kind.sign(artifact), "", b"")
    bare = Envelope(statement(artifact), PAYLOAD_TYPE_IN_TOTO, ())
    return bare._replace(signatures=(EnvelopeSignature(kind.sign(bare.pae())),))


def bundle_of(forge: Forge, kind: Kind, *, log: str, envelope: bool = False) -> Bundle:
    """A bundle of a managed key, logged as that kind; `log` is ``v1`` or ``v2``."""
    content = signed_content(kind, envelope=envelope)
    bundle = Bundle("0.3", (), "", (), (), content)
    body = body_v1(kind, content) if log == "v1" else body_v2(kind, content)
    plan = Plan(log=log, certificate=False)
    entry = forge.bundle(plan).tlog_entries[0]
    proof = forge.proof(canonical(body), plan, log)
    entry = entry._replace(
        kind=body["kind"],
        version=body["apiVersion"],
        canonicalized_body=canonical(body),
        inclusion_proof=proof,
        inclusion_promise=b"",
        integrated_time=0,
    )
    return bundle._replace(tlog_entries=(entry,))


def body_v1(kind: Kind, content: Content) -> dict[str, Any]:
    pem = b64(kind.key.to_pem().encode())
    if isinstance(content, Envelope):
        payload = hashlib.sha256(content.payload).hexdigest()
        signature = {"signature": b64(content.signatures[0].sig), "verifier": pem}
        return {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
                "payloadHash": {"algorithm": "sha256", "value": payload},
                "signatures": [signature],
            },
        }
    digest = hashlib.new(kind.hash_name, ARTIFACT).hexdigest()
    return {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": kind.hash_name, "value": digest}},
            "signature": {"content": b64(content.signature), "publicKey": {"content": pem}},
        },
    }


def body_v2(kind: Kind, content: Content) -> dict[str, Any]:
    if isinstance(content, Envelope):
        data, signature = content.pae(), content.signatures[0].sig
    else:
        data, signature = ARTIFACT, content.signature
    digest = hashlib.new(kind.hash_name or "sha256", data).digest()
    verifier = {"keyDetails": kind.details, "publicKey": {"rawBytes": b64(kind.spki)}}
    algorithm = "SHA2_" + (kind.hash_name or "sha256").removeprefix("sha")
    record = {
        "data": {"algorithm": algorithm, "digest": b64encode(digest).decode()},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    return {
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {"hashedRekordV002": record},
    }
