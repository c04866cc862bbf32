# SPDX-License-Identifier: Apache-2.0
"""PKCS#10 certification requests (RFC 2986): a public key that signed for itself.

Only the key and the signature matter to the CA. Subject and attributes are read past: the
certificate's names come from the identity token alone.
"""

from dataclasses import dataclass
from typing import Final, Self

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SignatureInvalid

_WHAT = "certificate signing request"
_MAX_BYTES = 64 * 1024
_ATTRIBUTES = der.context(0)
_SIGNATURES: Final = {
    "1.2.840.10045.4.3.2": ("ECDSA", "sha256"),
    "1.2.840.10045.4.3.3": ("ECDSA", "sha384"),
    "1.2.840.10045.4.3.4": ("ECDSA", "sha512"),
    "1.2.840.113549.1.1.11": ("RSA", "sha256"),
    "1.2.840.113549.1.1.12": ("RSA", "sha384"),
    "1.2.840.113549.1.1.13": ("RSA", "sha512"),
    "1.3.101.112": ("ED25519", ""),
}


@dataclass(frozen=True, slots=True)
class CertificationRequest:
    """A request taken apart; its signature is not checked.

    Attributes:
        info: the encoded CertificationRequestInfo, which is what is signed.
        spki: the encoded public key.
        signature_algorithm: dotted OID.
        signature: over `info`, by the key itself.
    """

    info: bytes
    spki: bytes
    signature_algorithm: str
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a DER request. Raises FormatError."""
        if len(data) > _MAX_BYTES:
            raise FormatError(_WHAT, f"is larger than {_MAX_BYTES} bytes")
        outer = der.decode(data, _WHAT, der.SEQUENCE).reader(_WHAT)
        info = outer.read(der.SEQUENCE)
        algorithm = outer.sequence().oid()
        signature = der.decode_bit_string(outer.read(), _WHAT)
        outer.end()
        fields = info.reader(_WHAT)
        if fields.integer() != 0:
            raise FormatError(_WHAT, "is not version 1")
        fields.read(der.SEQUENCE)
        spki = fields.read(der.SEQUENCE).encoded
        fields.optional(_ATTRIBUTES)  # mandatory in the standard, left out by some writers
        fields.end()
        return cls(info.encoded, spki, algorithm, signature)

    @property
    def hash_name(self) -> str:
        """The hash it was signed with; empty for Ed25519 and for unknown algorithms."""
        return _SIGNATURES.get(self.signature_algorithm, ("", ""))[1]

    def verify(self, key: PublicKey) -> None:
        """Check that `key`, which is this request's own, signed it. Raises SignatureInvalid."""
        kind, hash_name = _SIGNATURES.get(self.signature_algorithm, ("none", ""))
        if f"PKIX_{kind}" not in key.details:
            raise SignatureInvalid(
                f"{_WHAT}: algorithm {self.signature_algorithm} is not one of the key's"
            )
        key.verify_with_hash(self.signature, self.info, hash_name, _WHAT)
