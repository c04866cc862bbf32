# SPDX-License-Identifier: Apache-2.0
"""Keys in Google Cloud KMS: ``gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/…/VERSION]``.

Only digests are sent, except with Ed25519, which signs messages whole. Who asks is google-auth's to
find out (Application Default Credentials). The calls of the REST API are made here: the vendor's
client for them brings gRPC along, 20 MB.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from countermark.client.keys.key import ED25519
from countermark.client.keys.services import Service, missing_extra, odd_reference
from countermark.client.transport import printable
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import AlgorithmRefused, FormatError, NotFound, SettingsError

SCHEME: Final = "gcpkms://"
_PART: Final = "[A-Za-z0-9._:-]{1,100}"
_FORM: Final = re.compile(
    rf"gcpkms://(projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART})"
    r"(?:/(?:cryptoKeyVersions|versions)/([0-9]{1,9}))?",
    re.ASCII,
)
_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_URL: Final = "https://cloudkms.googleapis.com"
# gcloud's own variable for private endpoints and emulators.
_ENDPOINT: Final = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"
_ALGORITHMS: Final = {
    "EC_SIGN_P256_SHA256": ("PKIX_ECDSA_P256_SHA_256",),
    "EC_SIGN_P384_SHA384": ("PKIX_ECDSA_P384_SHA_384",),
    "EC_SIGN_ED25519": (ED25519,),
    "RSA_SIGN_PKCS1_2048_SHA256": ("PKIX_RSA_PKCS1V15_2048_SHA256",),
    "RSA_SIGN_PKCS1_3072_SHA256": ("PKIX_RSA_PKCS1V15_3072_SHA256",),
    "RSA_SIGN_PKCS1_4096_SHA256": ("PKIX_RSA_PKCS1V15_4096_SHA256",),
}
_MAX_PAGES: Final = 20


class GoogleKey:
    """A version of a key. A `SigningKey`."""

    def __init__(self, service: Service, name: str) -> None:
        """Ask for the public key of a version, named in full."""
        self._service, self._name = service, name
        reply = service.get(f"/v1/{name}/publicKey")
        algorithm = service.text(reply, "algorithm")
        self._public_key = PublicKey.from_pem(service.text(reply, "pem"), "public key of Cloud KMS")
        if self._public_key.details not in _ALGORITHMS.get(algorithm, ()):
            error = AlgorithmRefused(
                f"a Cloud KMS key for {printable(algorithm, 60)} is no use here"
            )
            error.add_note("make one for EC_SIGN_P256_SHA256")
            raise error

    def __repr__(self) -> str:
        return f"GoogleKey({self._name})"

    @classmethod
    def open(cls, reference: str, environ: Mapping[str, str] = os.environ) -> "GoogleKey":
        """The key that a reference names; without a version, the newest that is enabled."""
        match = _FORM.fullmatch(reference)
        if match is None:
            form = "gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1"
            raise odd_reference(reference, form)
        service = Service("Cloud KMS", environ.get(_ENDPOINT, _URL).rstrip("/"), {}, _tokens())
        version = match[2] or _newest(service, match[1])
        return cls(service, f"{match[1]}/cryptoKeyVersions/{version}")

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        if self._public_key.details == ED25519:
            return self._sign({"data": to_base64(message)})
        return self.sign_digest(hashlib.new(self._public_key.hash_name, message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        if self._public_key.details == ED25519:
            error = AlgorithmRefused(
                "Cloud KMS signs statements with Ed25519, but no file's digest"
            )
            error.add_note("use a key for EC_SIGN_P256_SHA256")
            raise error
        return self._sign({"digest": {self._public_key.hash_name: to_base64(digest)}})

    def _sign(self, body: dict[str, object]) -> bytes:
        reply = self._service.post(f"/v1/{self._name}:asymmetricSign", body)
        if reply.get("name", self._name) != self._name:
            raise FormatError("reply of Cloud KMS", "is of another key")
        return self._service.base64(reply, "signature")


def _newest(service: Service, key: str) -> int:
    path = f"/v1/{key}/cryptoKeyVersions?filter=state%3DENABLED&pageSize=500"
    numbers: list[int] = []
    page = ""
    for _ in range(_MAX_PAGES):
        reply = service.get(path + page)
        versions = reply.get("cryptoKeyVersions")
        for version in versions if isinstance(versions, list) else ():
            name = version.get("name", "") if isinstance(version, dict) else ""
            number = str(name).rpartition("/")[2]
            if re.fullmatch("[0-9]{1,9}", number, re.ASCII):
                numbers.append(int(number))
        token = reply.get("nextPageToken")
        if not isinstance(token, str) or not re.fullmatch(r"[\w=.~-]{1,2000}", token, re.ASCII):
            break
        page = f"&pageToken={token}"
    if not numbers:
        raise NotFound("Cloud KMS knows no enabled version of the key")
    return max(numbers)


def _tokens() -> Callable[[], str]:
    try:
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.urllib3
        import urllib3
    except ImportError as error:
        raise missing_extra("Google Cloud KMS") from error
    make_request: Any = google.auth.transport.urllib3.Request
    credentials: Any = None

    def token() -> str:
        nonlocal credentials
        try:
            if credentials is None:
                credentials = google.auth.default(scopes=[_SCOPE])[0]
            if not credentials.valid:
                credentials.refresh(make_request(urllib3.PoolManager()))
        except google.auth.exceptions.GoogleAuthError as error:
            refused = SettingsError("Google Cloud gives no token for Cloud KMS")
            refused.add_note(printable(str(error)))
            raise refused from error
        return str(credentials.token)

    return token
