# SPDX-License-Identifier: Apache-2.0
"""Signatures that PyJWT makes, checked by our rules about which key may check what."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from countermark.core.errors import FormatError, TokenRejected
from countermark.core.identity.jws import ALGORITHMS, MAX_KEYS, KeySet, UnknownKey
from countermark.core.identity.token import parse_token

RSA_KEY = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (
    ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
)
ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA_KEY),
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED25519,
}
CLAIMS = {"iss": "https://issuer.example", "sub": "me"}


def jwk(key: Any, **changes: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        members = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        members = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        members = OKPAlgorithm.to_jwk(public, as_dict=True)
    return members | {"kid": "k"} | changes


def key_set(*jwks: dict[str, Any]) -> KeySet:
    return KeySet.parse(json.dumps({"keys": jwks}).encode())


def signed(algorithm: str, headers: dict[str, Any] | None = None, key: Any = None) -> str:
    chosen = KEYS[algorithm] if key is None else key
    return jwt.encode(CLAIMS, chosen, algorithm, headers={"kid": "k"} | (headers or {}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_with_its_own_key(algorithm: str) -> None:
    key_set(jwk(KEYS[algorithm])).verify(parse_token(signed(algorithm)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_changed_tokens_do_not_verify(algorithm: str) -> None:
    header, _, signature = signed(algorithm).split(".")
    claims = base64.urlsafe_b64encode(b'{"iss":"https://other.example"}').rstrip(b"=").decode()
    with pytest.raises(UnknownKey, match="does not verify"):
        key_set(jwk(KEYS[algorithm])).verify(parse_token(f"{header}.{claims}.{signature}"))


def test_keys_without_id_are_tried_for_tokens_without_id() -> None:
    other = rsa.generate_private_key(65537, 2048)
    keys = key_set(jwk(other, kid="a"), jwk(RSA_KEY, kid="b"))
    keys.verify(parse_token(jwt.encode(CLAIMS, RSA_KEY, "RS256")))


def test_key_ids_are_obeyed() -> None:
    with pytest.raises(UnknownKey, match="does not publish"):
        key_set(jwk(RSA_KEY, kid="other")).verify(parse_token(signed("RS256")))
    wrong = key_set(jwk(rsa.generate_private_key(65537, 2048)), jwk(RSA_KEY, kid="other"))
    with pytest.raises(UnknownKey, match="does not verify"):
        wrong.verify(parse_token(signed("RS256")))


def hand_made(header: dict[str, Any], signature: bytes = b"x") -> str:
    parts = (json.dumps(header).encode(), json.dumps(CLAIMS).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS1", "", None, 1, ["RS256"]])
def test_refuses_other_algorithms(algorithm: object) -> None:
    with pytest.raises(TokenRejected, match="algorithm is not allowed"):
        key_set(jwk(RSA_KEY)).verify(parse_token(hand_made({"alg": algorithm, "kid": "k"})))


def test_a_public_key_is_no_hmac_secret() -> None:
    """The classic confusion: an HMAC keyed with the issuer's public key."""
    public = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    message = hand_made({"alg": "HS256", "kid": "k"}).rpartition(".")[0]
    mac = hmac.digest(public, message.encode(), "sha256")
    token = f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(TokenRejected, match="algorithm is not allowed"):
        key_set(jwk(RSA_KEY)).verify(parse_token(token))


@pytest.mark.parametrize(("algorithm", "key"), [("ES256", RSA_KEY), ("RS256", P256)])
def test_keys_serve_their_own_type_only(algorithm: str, key: Any) -> None:
    with pytest.raises(TokenRejected, match=r"has no \w+ key"):
        key_set(jwk(key)).verify(parse_token(signed(algorithm)))


def test_stated_algorithms_are_obeyed() -> None:
    keys = key_set(jwk(RSA_KEY, alg="RS512"))
    keys.verify(parse_token(signed("RS512")))
    with pytest.raises(TokenRejected, match="has no RS256 key"):
        keys.verify(parse_token(signed("RS256")))


def test_a_curve_serves_its_own_hash_only() -> None:
    with pytest.raises(TokenRejected, match="has no ES384 key"):
        key_set(jwk(P256)).verify(parse_token(hand_made({"alg": "ES384", "kid": "k"})))


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"crit": ["exp"]}, "critical"),
        ({"b64": False}, "critical"),
        ({"kid": 5}, "key ID"),
        ({"kid": "k" * 513}, "key ID"),
    ],
)
def test_refuses_headers(headers: dict[str, Any], why: str) -> None:
    token = hand_made({"alg": "RS256", "kid": "k"} | headers)
    with pytest.raises(TokenRejected, match=why):
        key_set(jwk(RSA_KEY)).verify(parse_token(token))


def test_leaves_out_keys_for_other_purposes() -> None:
    useless: list[dict[str, Any]] = [
        jwk(RSA_KEY, use="enc"),
        jwk(RSA_KEY, key_ops=["encrypt"]),
        jwk(RSA_KEY, alg="RSA-OAEP"),
        jwk(RSA_KEY, kid=7),
        jwk(RSA_KEY, n="AQAB"),
        jwk(rsa.generate_private_key(65537, 1024)),
        jwk(ec.generate_private_key(ec.SECP256K1())) | {"crv": "secp256k1"},
        jwk(P256, x="AAAA"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "k"},
        {},
        {"kty": ["RSA"]},
    ]
    assert len(key_set(*useless, jwk(RSA_KEY)).keys) == 1
    for member in useless:
        with pytest.raises(FormatError, match="no key"):
            key_set(member)


def test_private_members_are_not_taken_in() -> None:
    members = json.loads(RSAAlgorithm.to_jwk(RSA_KEY)) | {"kid": "k", "key_ops": ["verify"]}
    assert "d" in members
    assert isinstance(key_set(members).keys[0].key, rsa.RSAPublicKey)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1]}', b'{"keys":[]}', b"\xff"]
)
def test_refuses_what_is_no_key_set(data: bytes) -> None:
    with pytest.raises(FormatError):
        KeySet.parse(data)


def test_bounds_key_sets() -> None:
    with pytest.raises(FormatError, match=f"more than {MAX_KEYS}"):
        key_set(*[jwk(RSA_KEY)] * (MAX_KEYS + 1))
    with pytest.raises(FormatError, match="larger than"):
        KeySet.parse(b" " * (256 * 1024 + 1))
