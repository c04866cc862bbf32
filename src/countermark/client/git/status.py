# SPDX-License-Identifier: Apache-2.0
"""GnuPG's status lines, which is how Git learns what a signing program found out.

What Git's ``%G?`` shows: G for GOODSIG (U while nobody said who is to have signed), B for BADSIG,
E for ERRSIG. A line that a certificate could make would be worse than none: names are escaped.
"""

import os
from datetime import UTC, datetime

from countermark.core.crypto.keys import PublicKey

_PREFIX = "[GNUPG:] "
# OpenPGP's numbers of algorithms (RFC 4880 §9.1, §9.4, RFC 6637 §5).
_KEY_ALGORITHMS = (("RSA", 1), ("ECDSA", 19))
_HASH_ALGORITHMS = {"sha256": 8, "sha384": 9, "sha512": 10}
_NO_PUBLIC_KEY = 9
_SAFE = frozenset("@.:/+-_~,!*'()=?&#;[]{}$ ")


class StatusWriter:
    """Writes to the descriptor that ``--status-fd`` names, or nowhere."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def new_signature(self) -> None:
        """A verification begins. Git wants a line before GOODSIG."""
        self._write("NEWSIG")

    def begin_signing(self) -> None:
        """A signature is about to be made. Git wants a line before SIG_CREATED."""
        self._write("BEGIN_SIGNING")

    def created(self, key: PublicKey, fingerprint: str, time: datetime) -> None:
        """A detached signature was made."""
        kind, digest = _numbers(key)
        self._write(f"SIG_CREATED D {kind} {digest} 00 {int(time.timestamp())} {fingerprint}")

    def good(
        self, key: PublicKey, fingerprint: str, name: str, time: datetime, *, expected: bool
    ) -> None:
        """A signature that holds, at a proven time.

        Args:
            key: the signer's.
            fingerprint: of the signer's certificate.
            name: the signer, as certified.
            time: the proven time.
            expected: whether a policy names this signer.
        """
        kind, digest = _numbers(key)
        utc = time.astimezone(UTC)
        self._write(f"GOODSIG {fingerprint} {escaped(name)}")
        self._write(
            f"VALIDSIG {fingerprint} {utc:%Y-%m-%d} {int(utc.timestamp())} 0 4 0 {kind} {digest}"
            f" 00 {fingerprint}"
        )
        self._write("TRUST_FULLY 0 shell" if expected else "TRUST_UNDEFINED 0 shell")

    def bad(self, fingerprint: str, name: str) -> None:
        """A signature that does not hold, or that somebody else made than is expected."""
        self._write(f"BADSIG {fingerprint} {escaped(name)}")
        self._write("TRUST_NEVER 0 shell")

    def unverifiable(self, fingerprint: str) -> None:
        """A signature that cannot be judged."""
        self._write(f"ERRSIG {fingerprint or '0' * 16} 0 0 00 0 {_NO_PUBLIC_KEY}")
        self._write("TRUST_NEVER 0 shell")

    def _write(self, line: str) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, f"{_PREFIX}{line}\n".encode())


def escaped(name: str) -> str:
    """A name as status lines have it: what could end or split a line is ``%XX``."""
    return "".join(
        char
        if char.isalnum() or char in _SAFE
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in name
    )


def _numbers(key: PublicKey) -> tuple[int, int]:
    kind = next((number for name, number in _KEY_ALGORITHMS if name in key.details), 0)
    return kind, _HASH_ALGORITHMS.get(key.hash_name, 0)
