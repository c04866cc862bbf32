# SPDX-License-Identifier: Apache-2.0
"""CMS signatures put together by hand, so that each part can be wrong on its own."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

from countermark.core.bundle.bundle import Bundle
from countermark.core.cms.entry import encode_entry
from countermark.core.cms.write import attribute, signed_attributes
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import encode_pem
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import NOW, tlv

PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nwhat was committed\n"
SIGNED_DATA, DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1"
SHA256, SHA384 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
LOG_ENTRY = "1.3.6.1.4.1.57264.3.1"
TIMESTAMP = "1.2.840.113549.1.9.16.2.14"


def attributes(payload: bytes = PAYLOAD, hash_name: str = "sha256") -> bytes:
    """The signed attributes of a payload, signed at the forge's own time."""
    return signed_attributes(hashlib.new(hash_name, payload).digest(), NOW)


def bundle(forge: Forge, signed: bytes, plan: Plan | None = None, **changes: Any) -> Bundle:
    """A bundle about the bytes of some signed attributes."""
    return forge.bundle(plan, artifact=signed, **changes)


def entry_attributes(made: Bundle) -> tuple[bytes, ...]:
    """The unsigned attributes of the log entries of a bundle."""
    return tuple(
        attribute(LOG_ENTRY, der.octet_string(encode_entry(entry))) for entry in made.tlog_entries
    )


@dataclass(frozen=True)
class Parts:
    """The parts of a CMS signature, encoded; those of a good one unless changed."""

    signed: bytes
    signature: bytes
    leaf: Certificate
    unsigned: tuple[bytes, ...]
    content_type: bytes = der.oid(SIGNED_DATA)
    version: int = 1
    digests: tuple[bytes, ...] = (der.sequence(der.oid(SHA256)),)
    encapsulated: bytes = der.sequence(der.oid(DATA))
    certificates: tuple[bytes, ...] = ()
    after_certificates: bytes = b""
    signer_version: int = 1
    serial: int | None = None
    digest: bytes = der.sequence(der.oid(SHA256))
    algorithm: bytes = der.sequence(der.oid(ECDSA_SHA256))
    signers: int = 1
    after: bytes = b""

    @classmethod
    def of(cls, made: Bundle, signed: bytes) -> Self:
        leaf = Certificate.parse(made.certificates[0])
        return cls(signed, made.signature, leaf, entry_attributes(made), certificates=(leaf.der,))

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def der(self) -> bytes:
        serial = self.leaf.serial if self.serial is None else self.serial
        signer = der.sequence(
            der.integer(self.signer_version),
            der.sequence(self.leaf.issuer, der.integer(serial)),
            self.digest,
            bytes((der.context(0),)) + self.signed[1:],
            self.algorithm,
            der.octet_string(self.signature),
            tlv(0xA1, b"".join(self.unsigned)) if self.unsigned else b"",
        )
        data = der.sequence(
            der.integer(self.version),
            tlv(0x31, b"".join(self.digests)),
            self.encapsulated,
            tlv(0xA0, b"".join(self.certificates)),
            self.after_certificates,
            tlv(0x31, signer * self.signers),
            self.after,
        )
        return der.sequence(self.content_type, tlv(0xA0, data))

    def pem(self) -> bytes:
        return encode_pem("SIGNED MESSAGE", self.der()).encode()
