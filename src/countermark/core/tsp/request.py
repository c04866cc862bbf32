# SPDX-License-Identifier: Apache-2.0
"""Timestamp requests (RFC 3161 section 2.4.1): reading and writing TimeStampReq."""

import re
from dataclasses import dataclass

from countermark.core.crypto import der
from countermark.core.errors import AlgorithmRefused, FormatError, RequestRejected

SIGSTORE_POLICY = "1.3.6.1.4.1.57264.2"
DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
HASH_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
MAX_REQUEST_BYTES = 64 * 1024
MAX_NONCE_BYTES = 64  # clients send 4 to 20; a nonce is echoed, so it must not be a free ride

# What upstream answers, word for word; the HTTP API hands these on.
WEAK_HASH = "Weak hash algorithm in timestamp request"
WRONG_LENGTH = "Message digest has incorrect length for specified algorithm"

_WHAT = "timestamp request"
_ALGORITHMS = {name: der.sequence(der.oid(oid), der.NULL_VALUE) for name, oid in HASH_OIDS.items()}
# Parameters may be NULL or left out (RFC 5754 section 2).
_NAMES_BY_ALGORITHM = {
    der.sequence(der.oid(oid), *parameters): name
    for name, oid in HASH_OIDS.items()
    for parameters in ((), (der.NULL_VALUE,))
}
_SHA1 = "1.3.14.3.2.26"
_MAX_OID_PARTS = 128
_OID_TEXT = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,17})){1,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """What is to be timestamped, and how.

    Attributes:
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
        digest: the hash of the data, of that algorithm's length.
        nonce: any integer of at most 64 bytes, which the token must repeat.
        policy: dotted OID of the policy that the token must be issued under.
        certificates: whether the token must hold the authority's certificate.
    """

    hash_name: str
    digest: bytes
    nonce: int | None = None
    policy: str | None = None
    certificates: bool = False

    def __post_init__(self) -> None:
        length = DIGEST_BYTES.get(self.hash_name)
        if length is None:
            raise FormatError(_WHAT, f"hash algorithm {self.hash_name[:32]!r} is not supported")
        if len(self.digest) != length:
            raise RequestRejected(WRONG_LENGTH)
        if self.nonce is not None and self.nonce.bit_length() >= 8 * MAX_NONCE_BYTES:
            raise FormatError(_WHAT, f"nonce is larger than {MAX_NONCE_BYTES} bytes")
        if self.policy is not None:
            check_oid(self.policy)

    @classmethod
    def parse(cls, data: bytes) -> "TimestampRequest":
        """Read a DER TimeStampReq.

        Raises AlgorithmRefused for SHA-1, RequestRejected for a digest of the wrong length and
        for extensions, FormatError for everything else.
        """
        if len(data) > MAX_REQUEST_BYTES:
            raise FormatError(_WHAT, f"is larger than {MAX_REQUEST_BYTES} bytes")
        outer = der.Reader(data, _WHAT)
        request = outer.sequence()
        outer.end()
        if request.integer() != 1:
            raise FormatError(_WHAT, "version is not 1")
        imprint = request.sequence()
        hash_name = _hash_name(imprint.read(der.SEQUENCE))
        digest = imprint.read(der.OCTET_STRING).content
        imprint.end()
        policy = request.oid() if request.peek() == der.OID else None
        nonce = request.integer() if request.peek() == der.INTEGER else None
        certificates = False
        if (flag := request.optional(der.BOOLEAN)) is not None:
            certificates = _boolean(flag)
        if (extensions := request.optional(der.context(0))) is not None:
            _refuse_extensions(extensions)
        request.end()
        return cls(hash_name, digest, nonce, policy, certificates)

    def serialize(self) -> bytes:
        """Encode as DER, so that ``TimestampRequest.parse(r.serialize()) == r``."""
        fields = [der.integer(1), message_imprint(self.hash_name, self.digest)]
        if self.policy is not None:
            fields.append(der.oid(self.policy))
        if self.nonce is not None:
            fields.append(der.integer(self.nonce))
        if self.certificates:
            fields.append(der.boolean(True))
        return der.sequence(*fields)


def message_imprint(hash_name: str, digest: bytes) -> bytes:
    """A MessageImprint; the algorithm's parameters are an explicit NULL, as upstream writes it."""
    return der.sequence(_ALGORITHMS[hash_name], der.octet_string(digest))


def check_oid(dotted: str) -> None:
    """Refuse text that is no OBJECT IDENTIFIER, or one too long to be meant seriously."""
    if dotted.count(".") >= _MAX_OID_PARTS:
        raise RequestRejected(f"OID should be comprised of at most {_MAX_OID_PARTS} components")
    if not _OID_TEXT.fullmatch(dotted):
        raise FormatError(_WHAT, "policy is not an object identifier")
    root, second = dotted.split(".")[:2]
    if root != "2" and int(second) >= 40:
        raise FormatError(_WHAT, "policy is not a possible object identifier")


def _hash_name(algorithm: der.Element) -> str:
    name = _NAMES_BY_ALGORITHM.get(algorithm.encoded)
    if name is not None:
        return name
    oid = algorithm.reader(_WHAT).oid()
    if oid == _SHA1:
        raise AlgorithmRefused(WEAK_HASH)
    raise FormatError(_WHAT, f"hash algorithm {oid} is not supported as it stands")


def _boolean(element: der.Element) -> bool:
    if element.content not in (b"\x00", b"\xff"):
        raise FormatError(_WHAT, "certReq is not a DER boolean")
    return element.content == b"\xff"


def _refuse_extensions(element: der.Element) -> None:
    # RFC 3161: a request with an extension that the server does not know must be refused.
    extension = element.reader(_WHAT).sequence()
    raise RequestRejected(f"unaccepted extension: {extension.oid()}")
