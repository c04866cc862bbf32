# SPDX-License-Identifier: Apache-2.0
"""Keys in Azure Key Vault and Managed HSM: ``azurekms://HOST/KEY`` or ``azurekms://HOST/KEY/VERSION``.

Only digests are sent. Who asks is azure-identity's to find out: variables, managed identity,
workload identity, the command-line tools. The two calls of the REST API are made here, since the
vendor's client for them would hash a file in memory and knows no limits.
"""

import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from countermark.client.keys.services import (
    Service,
    missing_extra,
    odd_reference,
    service_url,
)
from countermark.client.keys.spki import ec_key_of_numbers, ecdsa_as_der, rsa_key
from countermark.client.transport import printable
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError, RequestRejected, SettingsError

SCHEME: Final = "azurekms://"
_FORM: Final = re.compile(
    r"azurekms://([A-Za-z0-9.:\[\]-]{1,250})/([A-Za-z0-9-]{1,127})(?:/([a-z0-9]{1,64}))?", re.ASCII
)
_QUERY: Final = "?api-version=7.4"
_ALGORITHMS: Final = {
    "PKIX_ECDSA_P256_SHA_256": "ES256",
    "PKIX_ECDSA_P384_SHA_384": "ES384",
    "PKIX_ECDSA_P521_SHA_512": "ES512",
}
# Whom a token is for, by the end of the vault's name. It is sent nowhere else: whoever gets one
# can use every key of its owner.
_AUDIENCES: Final = {
    f".{service}.{cloud}": f"https://{service}.{cloud}/.default"
    for service in ("vault", "managedhsm")
    for cloud in ("azure.net", "azure.cn", "usgovcloudapi.net")
}
_HERE: Final = "https://vault.azure.net/.default"


class AzureKey:
    """A key in a vault. A `SigningKey`."""

    def __init__(self, service: Service, name: str, version: str) -> None:
        """Ask for the public key; without a version, of the newest."""
        self._service = service
        path = f"/keys/{name}/{version}" if version else f"/keys/{name}"
        jwk = service.get(path + _QUERY).get("key")
        if not isinstance(jwk, dict):
            raise FormatError("reply of Key Vault", "describes no key")
        self._public_key = _public_key(service, jwk)
        # What is newest can change while we sign.
        newest = service.text(jwk, "kid").rpartition("/")[2]
        if not re.fullmatch(r"[a-z0-9]{1,64}", newest, re.ASCII) or version not in ("", newest):
            raise FormatError("reply of Key Vault", "is about another version of the key")
        self._path = f"/keys/{name}/{newest}/sign{_QUERY}"

    def __repr__(self) -> str:
        return f"AzureKey({self._path})"

    @classmethod
    def open(cls, reference: str) -> "AzureKey":
        """The key that a reference names."""
        match = _FORM.fullmatch(reference)
        if match is None:
            raise odd_reference(reference, "azurekms://NAME.vault.azure.net/KEY[/VERSION]")
        host = match[1].lower()
        url = service_url(host)
        name = host.partition(":")[0]
        scopes = (scope for end, scope in _AUDIENCES.items() if name.endswith(end))
        scope = next(scopes, _HERE if url.startswith("http:") else "")
        if not scope:
            raise RequestRejected(f"{host} is no key vault of Azure, so no token is sent there")
        service = Service("Key Vault", url, {}, _tokens(scope))
        return cls(service, match[2], match[3] or "")

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        return self.sign_digest(hashlib.new(self._public_key.hash_name, message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        algorithm = _ALGORITHMS.get(self._public_key.details, "RS256")
        value = binascii.b2a_base64(digest, newline=False).translate(_TO_URL).rstrip(b"=")
        reply = self._service.post(self._path, {"alg": algorithm, "value": value.decode("ascii")})
        signature = _bytes(self._service, reply, "value")
        if algorithm == "RS256":
            return signature
        return ecdsa_as_der(signature, self._public_key, "signature of Key Vault")


_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


def _public_key(service: Service, jwk: dict[str, Any]) -> PublicKey:
    kind = service.text(jwk, "kty").removesuffix("-HSM")
    what = "public key of Key Vault"
    if kind == "EC":
        x, y = _number(service, jwk, "x"), _number(service, jwk, "y")
        return ec_key_of_numbers(service.text(jwk, "crv"), x, y, what)
    if kind == "RSA":
        return rsa_key(_number(service, jwk, "n"), _number(service, jwk, "e"), what)
    raise AlgorithmRefused(f"keys of type {printable(kind, 40)} of Key Vault are not allowed")


def _number(service: Service, tree: dict[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(service, tree, name))


def _bytes(service: Service, tree: dict[str, Any], name: str) -> bytes:
    text = service.text(tree, name)
    try:
        data = text.encode("ascii").translate(_FROM_URL)
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError as error:
        raise FormatError(f"{name} of Key Vault", "is not base64url") from error


def _tokens(scope: str) -> Callable[[], str]:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError as error:
        raise missing_extra("Azure Key Vault") from error
    credential = DefaultAzureCredential()

    def token() -> str:
        try:
            return str(credential.get_token(scope).token)  # it remembers one while that is good
        except (CredentialUnavailableError, ClientAuthenticationError) as error:
            refused = SettingsError("Azure gives no token for Key Vault")
            refused.add_note(printable(str(error)))
            raise refused from error

    return token
