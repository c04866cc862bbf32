# SPDX-License-Identifier: Apache-2.0
"""Keys in PKCS#11 tokens: hardware security modules, smart cards, SoftHSM. They never leave these.

Digests are made here and signed there: ECDSA bare (`CKM_ECDSA`), RSA as PKCS#1 v1.5 over a
DigestInfo (`CKM_RSA_PKCS`), Ed25519 over whole messages (`CKM_EDDSA`).
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from countermark.client.keys.asking import Asking
from countermark.client.keys.key import ED25519, P256, P384, P521, RSA_3072, RSA_4096
from countermark.client.keys.pkcs11_token import (
    check_installed,
    find_token,
    find_tokens,
    log_in,
    token_errors,
)
from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.client.keys.spki import (
    CURVES,
    OID_ED25519,
    ec_key,
    ecdsa_as_der,
    ed25519_key,
    rsa_key,
    sha256_info,
)
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    FormatError,
    NotFound,
    RequestRejected,
)

if TYPE_CHECKING:
    import pkcs11
    from pkcs11.types import Key, SignMixin

_WHAT: Final = "public key of the token"
_CURVES: Final = {
    P256: der.oid(CURVES["P-256"]),
    P384: der.oid(CURVES["P-384"]),
    P521: der.oid(CURVES["P-521"]),
}
_POINT_BYTES: Final = {_CURVES[P256]: 65, _CURVES[P384]: 97, _CURVES[P521]: 133}
_RSA_BITS: Final = {RSA_3072: 3072, RSA_4096: 4096}
_ID_BYTES: Final = 8
_MAX_LISTED: Final = 1000


class TokenKey:
    """A private key in a token. A `SigningKey`."""

    def __init__(self, key: "SignMixin", public_key: PublicKey, pin: str | None) -> None:
        """`key` is the object in a session; `pin` is for keys that want it for each signature."""
        self._key, self._public_key, self._pin = key, public_key, pin
        self._lock = threading.Lock()  # a session does one thing at a time

    def __repr__(self) -> str:
        return f"TokenKey({self._public_key.details}, {self._public_key.key_id.hex()[:16]})"

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        from pkcs11 import Mechanism

        if self._public_key.details == ED25519:
            return self._sign(message, Mechanism.EDDSA)
        return self.sign_digest(hashlib.new(self._public_key.hash_name, message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        from pkcs11 import Mechanism

        if self._public_key.details == ED25519:
            error = AlgorithmRefused("tokens sign statements with Ed25519, but no file's digest")
            error.add_note("use an ECDSA key, e.g. of kind p256")
            raise error
        if self._public_key.details.startswith("PKIX_RSA"):
            return self._sign(sha256_info(digest), Mechanism.RSA_PKCS)
        raw = self._sign(digest, Mechanism.ECDSA)
        return ecdsa_as_der(raw, self._public_key, "signature of the token")

    def _sign(self, data: bytes, mechanism: "pkcs11.Mechanism") -> bytes:
        with self._lock, token_errors():
            return bytes(self._key.sign(data, mechanism=mechanism, pin=self._pin))


def open_token_key(
    reference: str | KeyURI,
    asking: Asking,
    environ: Mapping[str, str] = os.environ,
    *,
    public: bool = False,
) -> TokenKey:
    """The key that a URI names; with `public`, only its public half, without a PIN if possible.

    Raises NotFound, RequestRejected if several fit, SettingsError for a wrong PIN, UpstreamDown.
    """
    check_installed()
    from pkcs11 import ObjectClass

    uri = reference if isinstance(reference, KeyURI) else KeyURI.parse(reference)
    token = find_token(uri, environ)
    if public:
        with token_errors():
            session = token.open()
        keys = _objects(session, ObjectClass.PUBLIC_KEY, uri)
        if len(keys) == 1:
            return TokenKey(keys[0], read_public_key(keys[0]), None)
    session, pin = log_in(token, uri, asking, environ)
    keys = _objects(session, ObjectClass.PRIVATE_KEY, uri)
    if not keys:
        error = NotFound(f"the token holds no private key that fits {uri}")
        error.add_note("`countermark key list` shows those that it holds")
        raise error
    if len(keys) > 1:
        several = RequestRejected(f"several keys fit {uri}")
        several.add_note("say which with object=… or id=%…; `countermark key list` shows them")
        raise several
    (key,) = keys
    return TokenKey(key, _public_half(session, key), pin if _always_asks(key) else None)


def list_token_keys(
    reference: str, asking: Asking, environ: Mapping[str, str] = os.environ
) -> list[tuple[str, PublicKey | None]]:
    """URIs of the keys that tokens show, with the public halves; None for kinds we do not use.

    Logs in only to the token that a URI with a PIN names.
    """
    check_installed()
    from pkcs11 import ObjectClass

    uri = KeyURI.parse(reference)
    found: dict[str, PublicKey | None] = {}
    has_pin = uri.pin is not None or uri.pin_file is not None
    # A PIN is one token's: each of the others would be a wrong one nearer to locking itself.
    for token in [find_token(uri, environ)] if has_pin else find_tokens(uri, environ):
        if has_pin:
            session, _ = log_in(token, uri, asking, environ)
        else:
            with token_errors():
                session = token.open()
        for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
            for key in _objects(session, kind, uri):
                with token_errors():
                    named = KeyURI(token=token.label, label=key.label, key_id=bytes(key.id))
                    try:
                        half = read_public_key(key)
                    except CountermarkError:
                        half = None
                found[str(named)] = found.get(str(named)) or half
        with token_errors():
            session.close()
    return sorted(found.items(), key=lambda item: item[0])


def generate_token_key(
    reference: str | KeyURI,
    details: str,
    asking: Asking,
    environ: Mapping[str, str] = os.environ,
) -> tuple[str, PublicKey]:
    """Make a key in a token; it cannot be taken out. Gives its URI and its public half.

    Raises RequestRejected if a key of that name is there, AlgorithmRefused if the token cannot
    make such a key.
    """
    check_installed()
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

    uri = reference if isinstance(reference, KeyURI) else KeyURI.parse(reference)
    if uri.label is None and uri.key_id is None:
        error = RequestRejected("the URI gives the new key no name")
        error.add_note("add object=NAME")
        raise error
    token = find_token(uri, environ)
    session, _ = log_in(token, uri, asking, environ, write=True)
    if _objects(session, ObjectClass.PRIVATE_KEY, uri):
        raise RequestRejected(f"the token holds a key already that fits {uri}")
    label, key_id = uri.label or "countermark", uri.key_id or secrets.token_bytes(_ID_BYTES)
    template: dict[str, Any] = {
        "store": True,
        "label": label,
        "id": key_id,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    }
    with token_errors():
        if details in _RSA_BITS:
            public, _ = session.generate_keypair(KeyType.RSA, _RSA_BITS[details], **template)
        else:
            edwards = details == ED25519
            curve = der.oid(OID_ED25519) if edwards else _CURVES[details]
            if edwards:
                template["mechanism"] = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
            parameters = session.create_domain_parameters(
                KeyType.EC_EDWARDS if edwards else KeyType.EC,
                {Attribute.EC_PARAMS: curve},
                local=True,
            )
            public, _ = parameters.generate_keypair(**template)
    return str(KeyURI(token=token.label, label=label, key_id=key_id)), read_public_key(public)


def read_public_key(key: "Key") -> PublicKey:
    """The public key in the attributes of a key object. Raises AlgorithmRefused, FormatError."""
    from pkcs11 import Attribute, KeyType
    from pkcs11.exceptions import PKCS11Error

    try:
        if key.key_type == KeyType.RSA:
            exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT])
            return rsa_key(int.from_bytes(key[Attribute.MODULUS]), exponent, _WHAT)
        point = bytes(key[Attribute.EC_POINT])
        if key.key_type == KeyType.EC_EDWARDS:
            return ed25519_key(_unwrapped(point, 32), _WHAT)
        curve = bytes(key[Attribute.EC_PARAMS])
        if key.key_type == KeyType.EC and curve in _POINT_BYTES:
            return ec_key(curve, _unwrapped(point, _POINT_BYTES[curve]), _WHAT)
    except (PKCS11Error, KeyError, TypeError, ValueError) as error:
        raise FormatError(_WHAT, "cannot be read") from error
    raise AlgorithmRefused(f"{_WHAT}: keys of this kind are not allowed")


def _unwrapped(point: bytes, size: int) -> bytes:
    """A point, which tokens should wrap into an OCTET STRING, and some do not."""
    if len(point) == size:
        return point
    return der.decode(point, _WHAT, der.OCTET_STRING).content


def _public_half(session: "pkcs11.Session", key: "Key") -> PublicKey:
    """Of a private key: in its own attributes, its public object, or a certificate beside it."""
    from pkcs11 import Attribute, KeyType, ObjectClass

    with token_errors():
        if key.key_type == KeyType.RSA:
            return read_public_key(key)
        same = {Attribute.ID: key.id}
        for public in session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, **same}):
            return read_public_key(cast("Key", public))
        for item in session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, **same}):
            return Certificate.parse(bytes(item[Attribute.VALUE])).public_key
    error = NotFound("the token has no public key for its private key")
    error.add_note("store the public key or a certificate with the same id in the token")
    raise error


def _objects(session: "pkcs11.Session", kind: "pkcs11.ObjectClass", uri: KeyURI) -> "list[Any]":
    from pkcs11 import Attribute

    template: dict[Any, Any] = {Attribute.CLASS: kind}
    if uri.label is not None:
        template[Attribute.LABEL] = uri.label
    if uri.key_id is not None:
        template[Attribute.ID] = uri.key_id
    found = []
    with token_errors():
        for item in session.get_objects(template):
            found.append(item)
            if len(found) > _MAX_LISTED:
                raise RequestRejected(f"the token holds more than {_MAX_LISTED} keys")
    return found


def _always_asks(key: "Key") -> bool:
    from pkcs11 import Attribute
    from pkcs11.exceptions import PKCS11Error

    try:
        return bool(key[Attribute.ALWAYS_AUTHENTICATE])
    except (PKCS11Error, KeyError):
        return False
