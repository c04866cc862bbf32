# SPDX-License-Identifier: Apache-2.0
"""Keys in HashiCorp Vault's or OpenBao's transit engine: ``hashivault://NAME``, ``openbao://NAME``.

Only digests are sent, except with Ed25519, which signs messages whole. Address and token come from
the variables that Vault's own tools read. The version that is newest at the start signs to the end.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from countermark.client.keys.key import ED25519
from countermark.client.keys.services import Service, odd_reference
from countermark.client.keys.spki import ed25519_key
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, to_base64
from countermark.core.errors import AlgorithmRefused, FormatError, SettingsError

SCHEMES: Final = ("hashivault://", "openbao://")
_NAME: Final = re.compile(r"(?:hashivault|openbao)://(\w(?:[\w.-]{0,250}\w)?)", re.ASCII)
_MOUNT: Final = re.compile(r"\w[\w./-]{0,250}", re.ASCII)
_HASHES: Final = {"sha256": "sha2-256", "sha384": "sha2-384", "sha512": "sha2-512"}
_SIGNATURE: Final = re.compile(r"vault:v([0-9]{1,9}):([A-Za-z0-9+/]+={0,2})", re.ASCII)
_MAX_TOKEN_BYTES: Final = 16 * 1024


class VaultKey:
    """A key in a transit engine. A `SigningKey`."""

    def __init__(self, service: Service, mount: str, name: str) -> None:
        """Ask for the public key. Raises NotFound, RequestRejected, Unavailable, FormatError."""
        self._service, self._mount, self._name = service, mount, name
        self._version, self._public_key = self._newest()

    def __repr__(self) -> str:
        return f"VaultKey({self._name}, version {self._version})"

    @classmethod
    def open(cls, reference: str, environ: Mapping[str, str] = os.environ) -> "VaultKey":
        """The key that ``hashivault://NAME`` names."""
        match = _NAME.fullmatch(reference)
        if match is None:
            raise odd_reference(reference, "hashivault://NAME or openbao://NAME")
        names = ("VAULT", "BAO") if reference.startswith("hashivault") else ("BAO", "VAULT")
        address = _first(environ, [f"{name}_ADDR" for name in names])
        if not address:
            raise SettingsError(f"{names[0]}_ADDR does not say where {reference} is")
        mount = environ.get("TRANSIT_SECRET_ENGINE_PATH", "").strip("/") or "transit"
        if not _MOUNT.fullmatch(mount) or ".." in mount:
            raise SettingsError("TRANSIT_SECRET_ENGINE_PATH is no path of a secrets engine")
        headers = {"X-Vault-Token": _token(environ, names), "X-Vault-Request": "true"}
        if namespace := _first(environ, [f"{name}_NAMESPACE" for name in names]):
            headers["X-Vault-Namespace"] = namespace
        return cls(Service("Vault", address.rstrip("/"), headers), mount, match[1])

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        if self._public_key.details == ED25519:
            return self._sign("", {"input": to_base64(message)})
        import hashlib

        return self.sign_digest(hashlib.new(self._public_key.hash_name, message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        if self._public_key.details == ED25519:
            error = AlgorithmRefused("Vault's Ed25519 keys sign statements, but no file's digest")
            error.add_note("use a key of type ecdsa-p256")
            raise error
        return self._sign(
            f"/{_HASHES[self._public_key.hash_name]}",
            {
                "input": to_base64(digest),
                "prehashed": True,
                "signature_algorithm": "pkcs1v15",
                "marshaling_algorithm": "asn1",
            },
        )

    def _sign(self, hash_path: str, body: dict[str, Any]) -> bytes:
        reply = self._service.post(
            f"/v1/{self._mount}/sign/{self._name}{hash_path}",
            {**body, "key_version": self._version},
        )
        match = _SIGNATURE.fullmatch(self._service.text(reply, "data", "signature"))
        if match is None:
            raise FormatError("reply of Vault", "gives no signature of a transit key")
        if int(match[1]) != self._version:
            raise FormatError("reply of Vault", f"is of version {match[1]} of the key")
        return from_base64(match[2], "signature of Vault")

    def _newest(self) -> tuple[int, PublicKey]:
        data = self._service.get(f"/v1/{self._mount}/keys/{self._name}").get("data")
        versions = data.get("keys") if isinstance(data, dict) else None
        version = data.get("latest_version") if isinstance(data, dict) else None
        if not isinstance(versions, dict) or type(version) is not int or version < 1:
            raise FormatError("reply of Vault", "describes no key")
        found = versions.get(str(version))
        if not isinstance(found, dict):  # a number: a time, as symmetric keys have
            raise AlgorithmRefused(f"Vault's key {self._name} is no key that signs")
        text = self._service.text(found, "public_key")
        if isinstance(data, dict) and data.get("type") == "ed25519":
            return version, ed25519_key(from_base64(text, "public key of Vault"), "Vault")
        return version, PublicKey.from_pem(text.strip() + "\n", "public key of Vault")


def _first(environ: Mapping[str, str], names: list[str]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _token(environ: Mapping[str, str], names: tuple[str, str]) -> str:
    token = _first(environ, [f"{name}_TOKEN" for name in names])
    if not token:
        try:
            with open(os.path.expanduser("~/.vault-token"), "rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            token = ""
    if not token:
        error = SettingsError("there is no Vault token")
        error.add_note(f"set {names[0]}_TOKEN, or log in with `vault login`")
        raise error
    if not (token.isascii() and token.isprintable()):
        raise SettingsError("the Vault token is no token")
    return token
