# SPDX-License-Identifier: Apache-2.0
"""What signatures are made with: a key, wherever it lives, and its certificate if it has one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from countermark.client.transport import Transport
from countermark.core.bundle.bundle import Bundle, Content
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.verify.policy import Policy, UnsafeAnyIdentity


class SigningKey(Protocol):
    """A private key: in memory, in a file, in a token or in a cloud. Threads may share it."""

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A signature that `public_key.verify` takes (DER for ECDSA)."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """The same over data known by its digest, under `CredentialSource.hash_name`."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A key with the certificate that says whose it is; without one it is a managed key."""

    key: SigningKey
    certificate: Certificate | None = None

    @property
    def verifier_pem(self) -> str:
        """What logs are told: the certificate, or else the public key."""
        if self.certificate is not None:
            return self.certificate.to_pem()
        return self.key.public_key.to_pem()

    @property
    def hint(self) -> str | None:
        """What bundles call a managed key, as cosign does; None with a certificate."""
        return None if self.certificate is not None else to_base64(self.key.public_key.key_id)

    @property
    def policy(self) -> Policy | PublicKey:
        """What a bundle of this credential is verified with before anybody gets it.

        Whose the certificate is was found out when it was obtained.
        """
        return self.key.public_key if self.certificate is None else UnsafeAnyIdentity()

    def bundle(self, content: Content) -> Bundle:
        """A bundle with neither timestamps nor log entries yet."""
        certificates = () if self.certificate is None else (self.certificate.der,)
        return Bundle("0.3", certificates, self.hint, (), (), content)

    def good_until(self, time: datetime) -> bool:
        """Whether it may still be used at `time`."""
        return self.certificate is None or time <= self.certificate.not_after


class CredentialSource(Protocol):
    """Where credentials come from. Threads may share it."""

    @property
    def hash_name(self) -> str:
        """The hash under which its keys sign digests."""
        ...

    def current(self, transport: Transport) -> Credential:
        """A credential that is good now, the last one again while it lives."""
        ...


class ManagedKey:
    """The source of signatures with one long-lived key."""

    def __init__(self, key: SigningKey) -> None:
        self._credential = Credential(key)

    @property
    def hash_name(self) -> str:
        """See `CredentialSource`."""
        return self._credential.key.public_key.hash_name or "sha512"  # Ed25519 as Ed25519ph

    def current(self, transport: Transport) -> Credential:
        """See `CredentialSource`; nobody is asked."""
        return self._credential
