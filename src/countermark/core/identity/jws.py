# SPDX-License-Identifier: Apache-2.0
"""Signatures of identity tokens (RFC 7515) under an issuer's published keys (RFC 7517).

The algorithms themselves are PyJWT's. What may be combined is decided here: asymmetric ones
only, and only with a key of their own type, so that a public key never serves as an HMAC secret.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from countermark.core.errors import FormatError, SignatureInvalid, TokenRejected
from countermark.core.identity.token import UnverifiedToken

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
MAX_KEYS = 64
MAX_JWKS_BYTES = 256 * 1024

_WHAT = "JWK set"
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MAX_KEY_ID = 512
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


class UnknownKey(TokenRejected):
    """None of the keys at hand has the key ID that the token names; newer ones might."""

    code = "unknown-key"


class _JwkSet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of an issuer.

    Attributes:
        key_id: its `kid`; empty if it has none.
        algorithms: what it may be used with.
        key: the loaded public key.
    """

    key_id: str
    algorithms: frozenset[str]
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys an issuer signs tokens with."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def parse(cls, data: bytes) -> "KeySet":
        """Read a JWK Set, leaving out keys that are not for us (encryption, other types).

        Raises FormatError if it is none, is too large, or leaves no key.
        """
        if len(data) > MAX_JWKS_BYTES:
            raise FormatError(_WHAT, f"is larger than {MAX_JWKS_BYTES} bytes")
        try:
            listed = msgspec.json.decode(data, type=_JwkSet).keys
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(_WHAT, "is not the JSON expected") from error
        if len(listed) > MAX_KEYS:
            raise FormatError(_WHAT, f"holds more than {MAX_KEYS} keys")
        keys = tuple(key for key in map(_signing_key, listed) if key is not None)
        if not keys:
            raise FormatError(_WHAT, "holds no key that can check signatures")
        return cls(keys)

    def verify(self, token: UnverifiedToken) -> None:
        """Check the token's signature.

        Raises UnknownKey if newer keys may help, TokenRejected for everything else.
        """
        algorithm, key_id = _header(token)
        named = [key for key in self.keys if not key_id or key.key_id == key_id]
        if not named:
            raise UnknownKey(
                "the token is signed with a key that its issuer does not publish", "key"
            )
        fitting = [key for key in named if algorithm in key.algorithms]
        if not fitting:
            raise TokenRejected(
                f"the issuer has no {algorithm} key of the token's key ID", "algorithm"
            )
        message = token.text.rpartition(".")[0].encode("ascii")
        try:
            _verify_any(fitting, algorithm, message, token.signature)
        except SignatureInvalid as error:
            # A key may have been replaced under the same name, or all tokens be without one.
            raise UnknownKey("the token's signature does not verify", "signature") from error


def _verify_any(keys: list[SigningKey], algorithm: str, message: bytes, signature: bytes) -> None:
    verifier = _verifiers()[algorithm]
    if not any(verifier.verify(message, key.key, signature) for key in keys):
        raise SignatureInvalid("no key verifies the signature")


def _header(token: UnverifiedToken) -> tuple[str, str]:
    header = token.header
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if algorithm not in ALGORITHMS:
        raise TokenRejected("the token's signature algorithm is not allowed", "algorithm")
    if not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID:
        raise TokenRejected("the token's key ID is not a short text")
    if "crit" in header or "b64" in header:  # RFC 7515 section 4.1.11: we understand none
        raise TokenRejected("the token's header has critical extensions")
    return algorithm, key_id


def _signing_key(jwk: dict[str, Any]) -> SigningKey | None:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or operations != ["verify"]:
        return None
    possible = _possible_algorithms(jwk)
    stated = jwk.get("alg")
    if stated is not None:
        possible = [name for name in possible if name == stated]
    key_id = jwk.get("kid", "")
    if not possible or not isinstance(key_id, str):
        return None
    public: dict[str, Any] = {
        name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk
    }
    key = _public_key(possible[0], public)
    if isinstance(key, rsa.RSAPublicKey):
        if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            return None
    elif isinstance(key, ec.EllipticCurvePublicKey):
        possible = [name for name in possible if _CURVES[name] == key.curve.name]
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        return None
    return SigningKey(key_id, frozenset(possible), key) if possible else None


def _public_key(algorithm: str, jwk: dict[str, Any]) -> object:
    from jwt.exceptions import InvalidKeyError

    try:
        return _verifiers()[algorithm].from_jwk(jwk)
    except (InvalidKeyError, ValueError, TypeError, KeyError, AttributeError):
        return None


def preload() -> None:
    """Import now what the first token would wait for; it blocks for a while."""
    from jwt import exceptions  # noqa: F401

    _verifiers()


@lru_cache(maxsize=1)
def _verifiers() -> "dict[str, Algorithm]":
    # Imported with the first token: PyJWT takes longer to import than the rest of a worker's
    # services together.
    from jwt.algorithms import get_default_algorithms

    known = get_default_algorithms()
    return {name: algorithm for name, algorithm in known.items() if name in ALGORITHMS}


def _possible_algorithms(jwk: dict[str, Any]) -> list[str]:
    families = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}
    prefixes = families.get(str(jwk.get("kty")), ())
    return [name for name in ALGORITHMS if name[:2] in prefixes]
