# SPDX-License-Identifier: Apache-2.0
"""The port to a private key: files today, PKCS#11 and cloud KMS by the same two methods."""

from typing import Protocol

from countermark.core.crypto.keys import PublicKey


class Signer(Protocol):
    """A private key that signs and never shows itself. Safe to call from several threads."""

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign with the key's own hash: ECDSA as DER, RSA as PKCS#1 v1.5, Ed25519 pure.

        Raises UpstreamDown if a remote key service does not answer.
        """
        ...
