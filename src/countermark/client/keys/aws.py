# SPDX-License-Identifier: Apache-2.0
"""Keys in AWS KMS: ``awskms:///KEY-ID``, ``awskms:///alias/NAME``, ``awskms://HOST/arn:…``.

Only digests are sent. botocore signs the requests and finds out who asks (variables, profiles,
roles); region and further settings are those of every AWS tool.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from countermark.client.keys.key import ED25519
from countermark.client.keys.services import TIMEOUT_S, missing_extra, odd_reference, service_url
from countermark.client.transport import printable
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)

if TYPE_CHECKING:
    from botocore.client import BaseClient

SCHEME: Final = "awskms://"
_ID: Final = r"(?:mrk-)?[A-Fa-f0-9-]{32,36}"
_ARN: Final = r"arn:aws[a-z-]{0,20}:kms:[a-z0-9-]{1,40}:[0-9]{12}:"
_ALIAS: Final = r"alias/[A-Za-z0-9/_-]{1,250}"
_FORM: Final = re.compile(
    rf"awskms://([A-Za-z0-9.:\[\]-]{{0,250}})/({_ID}|{_ALIAS}|{_ARN}key/{_ID}|{_ARN}{_ALIAS})",
    re.ASCII,
)
_ALGORITHMS: Final = {
    "PKIX_ECDSA_P256_SHA_256": "ECDSA_SHA_256",
    "PKIX_ECDSA_P384_SHA_384": "ECDSA_SHA_384",
    "PKIX_ECDSA_P521_SHA_512": "ECDSA_SHA_512",
}
_RSA: Final = "RSASSA_PKCS1_V1_5_SHA_256"
_MISSING: Final = ("NotFoundException",)


class AWSKey:
    """A key in KMS. A `SigningKey`."""

    def __init__(self, client: "BaseClient", key_id: str) -> None:
        """Ask for the public key.

        Args:
            client: botocore's of KMS.
            key_id: id, alias or ARN.
        """
        self._client = client
        with _errors():
            reply = client.get_public_key(KeyId=key_id)
        data = reply.get("PublicKey")
        if not isinstance(data, bytes):
            raise FormatError("reply of AWS KMS", "gives no public key")
        self._public_key = PublicKey.from_spki(data, "public key of AWS KMS")
        if self._public_key.details == ED25519:
            raise AlgorithmRefused("Ed25519 keys of AWS KMS are not supported: use ECC_NIST_P256")
        self._algorithm = _ALGORITHMS.get(self._public_key.details, _RSA)
        if self._algorithm not in reply.get("SigningAlgorithms", ()):
            raise AlgorithmRefused(f"the key in AWS KMS does not sign with {self._algorithm}")
        # An alias can come to mean another key while we sign.
        self._key_id = str(reply.get("KeyId") or key_id)

    def __repr__(self) -> str:
        return f"AWSKey({self._key_id})"

    @classmethod
    def open(cls, reference: str) -> "AWSKey":
        """The key that a reference names."""
        match = _FORM.fullmatch(reference)
        if match is None:
            raise odd_reference(
                reference, "awskms:///KEY-ID, awskms:///alias/NAME or awskms:///ARN"
            )
        try:
            import botocore.config
            import botocore.session
        except ImportError as error:
            raise missing_extra("AWS KMS") from error
        config = botocore.config.Config(
            connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 3}
        )
        endpoint = {"endpoint_url": service_url(match[1])} if match[1] else {}
        region = re.match(r"arn:[^:]*:kms:([^:]*):", match[2])
        if region is not None:
            endpoint["region_name"] = region[1]
        with _errors():
            client = botocore.session.get_session().create_client("kms", config=config, **endpoint)
        return cls(client, match[2])

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        return self.sign_digest(hashlib.new(self._public_key.hash_name, message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        with _errors():
            reply = self._client.sign(
                KeyId=self._key_id,
                Message=digest,
                MessageType="DIGEST",
                SigningAlgorithm=self._algorithm,
            )
        signature = reply.get("Signature")
        if not isinstance(signature, bytes):
            raise FormatError("reply of AWS KMS", "gives no signature")
        return signature


@contextmanager
def _errors() -> Iterator[None]:
    """botocore's errors as ours."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(error.response) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.NoRegionError,
        exceptions.ProfileNotFound,
    ) as error:
        raise SettingsError(f"AWS KMS cannot be asked: {printable(str(error))}") from error
    except (exceptions.BotoCoreError, ValueError) as error:  # ValueError: an odd endpoint
        raise UpstreamDown(f"AWS KMS cannot be used: {printable(str(error))}") from error


def _refusal(response: Mapping[str, Any]) -> CountermarkError:
    fault = response.get("Error", {})
    code, message = str(fault.get("Code", "")), printable(str(fault.get("Message", "")))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if code in _MISSING:
        return NotFound(f"AWS KMS knows no such key: {message}")
    if isinstance(status, int) and 400 <= status < 500 and "Throttl" not in code:
        return RequestRejected(f"AWS KMS refused: {printable(code, 80)}: {message}")
    return UpstreamDown(f"AWS KMS failed: {printable(code, 80)}: {message}")
