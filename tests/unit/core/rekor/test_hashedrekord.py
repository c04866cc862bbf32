# SPDX-License-Identifier: Apache-2.0
"""hashedrekord proposals: what is taken, what is refused, and in which words."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.rekor.entry import EntryRejected, search_key
from countermark.core.rekor.hashedrekord import canonical_body
from countermark.core.rekor.hashedrekord_proposal import parse_proposal
from tests.support.rekor import SigningKey, b64, encode, hashedrekord_spec

ARTIFACT = b"an artifact"
DIGEST = hashlib.sha256(ARTIFACT).hexdigest()
KEY = SigningKey.new()
SIGNATURE = KEY.sign(ARTIFACT)


def spec() -> dict[str, Any]:
    return hashedrekord_spec(KEY.pem, SIGNATURE, DIGEST)


def refusal(proposal: object) -> str:
    with pytest.raises(EntryRejected) as caught:
        parse_proposal(encode(proposal))
    return str(caught.value)


def pem(key: Any) -> str:
    encoded = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(encoded.decode())


def test_entry() -> None:
    entry = parse_proposal(encode(spec()))
    assert (entry.kind, entry.version) == ("hashedrekord", "0.0.1")
    assert entry.body == canonical_body("sha256", DIGEST, SIGNATURE, KEY.pem)
    fingerprint = hashlib.sha256(KEY.pem.encode()).hexdigest()
    assert set(entry.search_keys) == {
        search_key(f"sha256:{fingerprint}"),
        search_key(f"sha256:{DIGEST}"),
    }


def test_upper_case_digest_is_the_same_leaf() -> None:
    proposal = spec()
    proposal["data"]["hash"]["value"] = DIGEST.upper()
    assert parse_proposal(encode(proposal)).body == parse_proposal(encode(spec())).body


def test_line_ends_in_base64_and_unknown_fields_and_null() -> None:
    proposal = spec()
    content = proposal["signature"]["content"]
    proposal["signature"] |= {"content": f"{content[:20]}\r\n{content[20:]}\n", "format": "x509"}
    proposal["data"] |= {"url": "http://example.com/never-fetched", "content": None}
    assert parse_proposal(encode(proposal)).body == parse_proposal(encode(spec())).body


def test_ecdsa_signature_as_webcrypto_makes_it() -> None:
    r, s = decode_dss_signature(SIGNATURE)
    raw = r.to_bytes(32) + s.to_bytes(32)
    entry = parse_proposal(encode(hashedrekord_spec(KEY.pem, raw, DIGEST)))
    assert entry.body == canonical_body("sha256", DIGEST, raw, KEY.pem)  # kept as it was given
    flipped = s.to_bytes(32) + r.to_bytes(32)
    assert "verifying signature" in refusal(hashedrekord_spec(KEY.pem, flipped, DIGEST))


@pytest.mark.parametrize(
    ("curve", "algorithm", "hash_name"),
    [(ec.SECP384R1(), SHA384(), "sha384"), (ec.SECP521R1(), SHA512(), "sha512")],
)
def test_other_curves(curve: ec.EllipticCurve, algorithm: SHA384 | SHA512, hash_name: str) -> None:
    key = ec.generate_private_key(curve)
    digest = hashlib.new(hash_name, ARTIFACT).hexdigest()
    signature = key.sign(ARTIFACT, ec.ECDSA(algorithm))
    entry = parse_proposal(encode(hashedrekord_spec(pem(key), signature, digest, hash_name)))
    assert search_key(f"{hash_name}:{digest}") in entry.search_keys


def test_pairs_outside_the_registry() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    signature = key.sign(ARTIFACT, ec.ECDSA(SHA256()))
    proposal = hashedrekord_spec(pem(key), signature, DIGEST)
    assert refusal(proposal) == "entry algorithms are not allowed"
    # The signature is judged first.
    proposal["signature"]["content"] = b64(key.sign(b"other", ec.ECDSA(SHA256())))
    assert refusal(proposal).startswith("verifying signature: invalid signature when validating")

    rsa_key = rsa.generate_private_key(65537, 2048)
    signature = rsa_key.sign(ARTIFACT, padding.PKCS1v15(), SHA512())
    digest = hashlib.sha512(ARTIFACT).hexdigest()
    proposal = hashedrekord_spec(pem(rsa_key), signature, digest, "sha512")
    assert refusal(proposal) == "entry algorithms are not allowed"
    proposal["signature"]["content"] = b64(b"\x00" * 256)
    assert refusal(proposal) == "verifying signature: crypto/rsa: verification error"


def test_keys_that_are_never_taken() -> None:
    koblitz = ec.generate_private_key(ec.SECP256K1())
    signature = koblitz.sign(ARTIFACT, ec.ECDSA(SHA256()))
    assert "entry algorithms are not allowed" in refusal(
        hashedrekord_spec(pem(koblitz), signature, DIGEST)
    )
    odd = rsa.generate_private_key(65537, 1024)
    signature = odd.sign(ARTIFACT, padding.PKCS1v15(), SHA256())
    assert "entry algorithms are not allowed" in refusal(
        hashedrekord_spec(pem(odd), signature, DIGEST)
    )


def test_pure_ed25519_is_not_prehashed() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    digest = hashlib.sha512(ARTIFACT).hexdigest()
    proposal = hashedrekord_spec(pem(key), key.sign(ARTIFACT), digest, "sha512")
    assert refusal(proposal) == "verifying signature: ed25519: invalid signature"
    proposal = hashedrekord_spec(pem(key), key.sign(ARTIFACT), DIGEST)
    assert refusal(proposal) == "verifying signature: ed25519: invalid signature"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("signature",), None, "missing signature"),
        (("signature", "publicKey"), None, "missing public key"),
        (("signature", "publicKey", "content"), "", "missing public key"),
        (("signature", "content"), None, "missing signature content"),
        (("signature", "content"), "AA=", "signature.content: is not base64"),
        (("signature", "content"), "AA-_", "signature.content: is not base64"),
        (("signature", "content"), b64(b"\x30" * 5000), "signature.content: is empty or too large"),
        (("data",), None, "missing data"),
        (("data", "hash"), None, "missing hash"),
        (("data", "hash", "algorithm"), "sha1", "should be one of [sha256 sha384 sha512]"),
        (("data", "hash", "algorithm"), "sha512", "invalid value for hash"),
        (("data", "hash", "value"), DIGEST[:-2], "invalid value for hash"),
        (("data", "hash", "value"), DIGEST[:-1] + "g", "invalid value for hash"),
        (("data", "hash", "value"), 7, "spec: "),
        (("signature", "publicKey", "content"), b64("hello"), "failure decoding PEM"),
    ],
)
def test_refused(path: tuple[str, ...], value: object, words: str) -> None:
    proposal = target = spec()
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    assert words in refusal(proposal)


def test_another_artifact() -> None:
    proposal = spec()
    proposal["data"]["hash"]["value"] = hashlib.sha256(b"other").hexdigest()
    assert refusal(proposal).startswith("verifying signature: ")


def test_not_json() -> None:
    for data in (b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000):
        with pytest.raises(EntryRejected, match=r"^spec: "):
            parse_proposal(data)


def test_body_is_what_json_makes_of_it() -> None:
    """Nothing in a body may need escaping, whatever was submitted."""
    body = parse_proposal(encode(spec())).body
    assert base64.b64encode(SIGNATURE) in body
    assert body.isascii()
    assert b"\\" not in body
