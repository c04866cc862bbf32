# SPDX-License-Identifier: Apache-2.0
"""X.509 certificates (RFC 5280): reading them and asking what they say.

A `Certificate` is parsed and nothing more; whether anybody vouches for it is for `chain`.
Values are named tuples because they cost a tenth of a dataclass to define, and imports are
most of a single verification's time.
"""

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks, encode_pem
from countermark.core.errors import AlgorithmRefused, FormatError

OID_SUBJECT_KEY_ID = "2.5.29.14"
OID_KEY_USAGE = "2.5.29.15"
OID_SUBJECT_ALT_NAME = "2.5.29.17"
OID_BASIC_CONSTRAINTS = "2.5.29.19"
OID_AUTHORITY_KEY_ID = "2.5.29.35"
OID_EXTENDED_KEY_USAGE = "2.5.29.37"
OID_SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"
OID_PRECERT_POISON = "1.3.6.1.4.1.11129.2.4.3"

EKU_CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
EKU_TIME_STAMPING = "1.3.6.1.5.5.7.3.8"

KEY_USAGE_DIGITAL_SIGNATURE, KEY_USAGE_CERT_SIGN = 0, 5

# Signature algorithm OIDs → (the key kind they need, hash; empty for pure Ed25519).
_SIGNATURES = {
    "1.2.840.10045.4.3.2": ("ECDSA", "sha256"),
    "1.2.840.10045.4.3.3": ("ECDSA", "sha384"),
    "1.2.840.10045.4.3.4": ("ECDSA", "sha512"),
    "1.2.840.113549.1.1.11": ("RSA_PKCS1V15", "sha256"),
    "1.2.840.113549.1.1.12": ("RSA_PKCS1V15", "sha384"),
    "1.2.840.113549.1.1.13": ("RSA_PKCS1V15", "sha512"),
    "1.3.101.112": ("ED25519", ""),
    "2.16.840.1.101.3.4.3.17": ("ML_DSA_44", ""),
    "2.16.840.1.101.3.4.3.18": ("ML_DSA_65", ""),
    "2.16.840.1.101.3.4.3.19": ("ML_DSA_87", ""),
}
_NAME_LABELS = {"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.10": "O", "2.5.4.11": "OU"}
_EXTENSIONS = der.context(3)
_OID_TAG = bytes((der.OID,))
MAX_CERTIFICATE_BYTES = 64 * 1024


class Extension(NamedTuple):
    """One extension: dotted OID, critical flag, and the bytes inside its OCTET STRING.

    `encoded` is the whole of it, as it stands in the certificate.
    """

    oid: str
    critical: bool
    value: bytes
    encoded: bytes


class GeneralName(NamedTuple):
    """One subject alternative name.

    Attributes:
        kind: ``email``, ``uri``, ``dns``, or the dotted type-id of an otherName.
        value: its text; an otherName's UTF8String is decoded.
    """

    kind: str
    value: str


class Certificate(NamedTuple):
    """A parsed X.509 certificate.

    Attributes:
        der: the whole certificate.
        version: 1, 2 or 3.
        serial: the serial number; may be negative in bad certificates.
        signature_algorithm: dotted OID.
        issuer: DER Name of the issuer.
        not_before: start of validity, inclusive.
        not_after: end of validity, inclusive.
        subject: DER Name; empty names are ``30 00``.
        spki: DER SubjectPublicKeyInfo, not judged yet (see `public_key`).
        extensions: in the order of the certificate, no OID twice.
        tbs: DER TBSCertificate, the bytes that are signed.
        signature: the issuer's signature over `tbs`.
    """

    der: bytes
    version: int
    serial: int
    signature_algorithm: str
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    spki: bytes
    extensions: tuple[Extension, ...]
    tbs: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes, what: str = "certificate") -> "Certificate":
        """Read one DER certificate. Raises FormatError naming `what`."""
        if len(data) > MAX_CERTIFICATE_BYTES:
            raise FormatError(what, f"is larger than {MAX_CERTIFICATE_BYTES} bytes")
        return _parse(data, what)

    @property
    def public_key(self) -> PublicKey:
        """The certified key. Raises FormatError or AlgorithmRefused if it is not an allowed one."""
        return _public_key(self.spki)

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name, as in a root."""
        return self.subject == self.issuer

    @property
    def issuer_key_hash(self) -> bytes:
        """SHA-256 of this certificate's SPKI: how an SCT names the issuer (RFC 6962 §3.2)."""
        return hashlib.sha256(self.spki).digest()

    def extension(self, oid: str) -> Extension | None:
        """The extension with that OID, if any."""
        for extension in self.extensions:
            if extension.oid == oid:
                return extension
        return None

    def to_pem(self) -> str:
        """PEM ``CERTIFICATE``, 64 columns, final newline: the form inside v1 log entries."""
        return encode_pem("CERTIFICATE", self.der)

    def verify_signature(self, issuer_key: PublicKey) -> None:
        """Check that `issuer_key` signed this certificate.

        Raises SignatureInvalid, or AlgorithmRefused for a signature algorithm that is not
        allowed or does not fit the key.
        """
        kind, hash_name = _SIGNATURES.get(self.signature_algorithm, ("", ""))
        if not kind:
            raise AlgorithmRefused(
                f"certificate signature algorithm {self.signature_algorithm} is not allowed"
            )
        if not issuer_key.details.removeprefix("PKIX_").startswith(kind):
            raise AlgorithmRefused(f"a {issuer_key.details} key makes no {kind} signatures")
        issuer_key.verify_with_hash(self.signature, self.tbs, hash_name, "certificate signature")

    def basic_constraints(self) -> tuple[bool, int | None]:
        """(is a CA, path length limit); ``(False, None)`` without the extension."""
        extension = self.extension(OID_BASIC_CONSTRAINTS)
        return (False, None) if extension is None else _basic_constraints(extension.value)

    def has_key_usage(self, bit: int) -> bool | None:
        """Whether that KeyUsage bit is set; None without the extension."""
        extension = self.extension(OID_KEY_USAGE)
        if extension is None:
            return None
        content = der.decode(extension.value, "key usage", der.BIT_STRING).content
        if not 2 <= len(content) <= 3 or content[0] > 7:
            raise FormatError("key usage", "is not a named bit list")
        return 1 + bit // 8 < len(content) and bool(content[1 + bit // 8] & 0x80 >> bit % 8)

    def extended_key_usages(self) -> tuple[str, ...] | None:
        """Dotted purposes; None without the extension."""
        extension = self.extension(OID_EXTENDED_KEY_USAGE)
        if extension is None:
            return None
        reader = _whole_sequence(extension.value, "extended key usage")
        usages: list[str] = []
        while reader:
            usages.append(reader.oid())
        return tuple(usages)

    def subject_alternative_names(self) -> tuple[GeneralName, ...]:
        """All names of kinds that Sigstore uses; a name of another kind is a FormatError."""
        extension = self.extension(OID_SUBJECT_ALT_NAME)
        if extension is None:
            return ()
        reader = _whole_sequence(extension.value, "subject alternative name")
        names: list[GeneralName] = []
        while reader:
            names.append(_general_name(reader.read()))
        return tuple(names)

    def tbs_without(self, oid: str) -> bytes:
        """The TBSCertificate as it would be without one extension (RFC 6962 §3.2).

        Removing the SCT list from a certificate, or the poison from a precertificate, gives
        the bytes that the CT log signed. Raises FormatError if the extension is not there.
        """
        kept = [item.encoded for item in self.extensions if item.oid != oid]
        if len(kept) == len(self.extensions):
            raise FormatError("certificate", f"has no extension {oid}")
        # Extensions come last, and DER has one spelling: their length tells where they begin.
        everything = _encode_extensions([item.encoded for item in self.extensions])
        _, start, end = der.header(self.tbs, 0, len(self.tbs), "certificate")
        before = self.tbs[start : end - len(everything)]
        return der.sequence(before, _encode_extensions(kept))


def parse_pem_certificates(text: str, what: str = "certificates") -> tuple[Certificate, ...]:
    """Read one or more PEM ``CERTIFICATE`` blocks, in order."""
    certificates: list[Certificate] = []
    for label, data in decode_pem_blocks(text, what):
        if label != "CERTIFICATE":
            raise FormatError(what, f"holds a PEM {label[:40]!r} block instead of 'CERTIFICATE'")
        certificates.append(Certificate.parse(data, what))
    return tuple(certificates)


@lru_cache(maxsize=256)
def _parse(data: bytes, what: str) -> Certificate:
    outer = _whole_sequence(data, what)
    tbs = outer.read(der.SEQUENCE)
    algorithm = outer.read(der.SEQUENCE)
    signature = der.decode_bit_string(outer.read(), what)
    outer.end()
    fields = tbs.reader(what)
    version = 1
    if (tagged := fields.optional(der.context(0))) is not None:
        version = 1 + der.decode_integer(der.decode(tagged.content, what), what)
        if version not in (2, 3):
            raise FormatError(what, f"X.509 version {version} is unknown")
    serial = fields.integer()
    if fields.read(der.SEQUENCE).encoded != algorithm.encoded:
        raise FormatError(what, "names two different signature algorithms")
    issuer = fields.read(der.SEQUENCE).encoded
    validity = fields.sequence()
    not_before = der.decode_time(validity.read(), what)
    not_after = der.decode_time(validity.read(), what)
    validity.end()
    subject = fields.read(der.SEQUENCE).encoded
    spki = fields.read(der.SEQUENCE).encoded
    for number in (1, 2):  # unique identifiers of 1993: read past
        fields.optional(der.context(number, constructed=False))
    extensions: tuple[Extension, ...] = ()
    if (tagged := fields.optional(_EXTENSIONS)) is not None:
        if version != 3:
            raise FormatError(what, "has extensions but is not version 3")
        extensions = _parse_extensions(tagged, what)
    fields.end()
    return Certificate(
        data,
        version,
        serial,
        _algorithm(algorithm, what),
        issuer,
        not_before,
        not_after,
        subject,
        spki,
        extensions,
        tbs.encoded,
        signature,
    )


def _algorithm(element: der.Element, what: str) -> str:
    """The OID of an AlgorithmIdentifier.

    The algorithms we know have no parameters, or NULL; those of others are one element at most.
    """
    reader = element.reader(what)
    oid = reader.oid()
    if reader:
        parameters = reader.read().encoded
        if oid in _SIGNATURES and (parameters != der.NULL_VALUE or not _SIGNATURES[oid][1]):
            raise FormatError(what, "has parameters of its signature algorithm")
    reader.end()
    return oid


def _parse_extensions(tagged: der.Element, what: str) -> tuple[Extension, ...]:
    data = der.decode(tagged.content, what, der.SEQUENCE).content
    extensions: list[Extension] = []
    position = 0
    while position < len(data):
        tag, start, end = der.header(data, position, len(data), what)
        # A leaf has two dozen extensions, so the shortest form of a name is read right here.
        if data[start : start + 1] == _OID_TAG and data[start + 1] < 0x80:
            name_start = start + 2
            name_end = name_start + data[start + 1]
        else:
            name_start = name_end = end
        value_tag, value_start, value_end = der.header(data, name_end, end, what)
        critical = value_tag == der.BOOLEAN
        if critical:
            if data[value_start:value_end] != b"\xff":  # false is the default, so not written
                raise FormatError(what, "has an extension with a malformed critical flag")
            value_tag, value_start, value_end = der.header(data, value_end, end, what)
        if tag != der.SEQUENCE or value_tag != der.OCTET_STRING or value_end != end:
            raise FormatError(what, "has a malformed extension")
        oid = der.dotted(data[name_start:name_end], what)
        value = data[value_start:value_end]
        extensions.append(Extension(oid, critical, value, data[position:end]))
        position = end
    if len({extension.oid for extension in extensions}) < len(extensions):
        raise FormatError(what, "holds an extension twice")
    return tuple(extensions)


def _encode_extensions(encoded: list[bytes]) -> bytes:
    return der.encode(_EXTENSIONS, der.sequence(*encoded)) if encoded else b""


def _general_name(element: der.Element) -> GeneralName:
    what = "subject alternative name"
    for number, kind in ((1, "email"), (2, "dns"), (6, "uri")):
        if element.tag == der.context(number, constructed=False):
            try:
                return GeneralName(kind, element.content.decode("ascii"))
            except UnicodeDecodeError as error:
                raise FormatError(what, "is not an IA5String") from error
    if element.tag == der.context(0):
        reader = element.reader(what)
        kind = reader.oid()
        inner = der.decode(reader.read(der.context(0)).content, what, der.UTF8_STRING)
        reader.end()
        try:
            return GeneralName(kind, inner.content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise FormatError(what, "is not UTF-8") from error
    raise FormatError(what, f"has a name of unknown kind 0x{element.tag:02x}")


def name_text(name: bytes) -> str:
    """A DER Name for people: ``CN=ca, O=example.org``; nothing is decided by it."""
    parts: list[str] = []
    try:
        sets = _whole_sequence(name, "name")
        while sets:
            attribute = sets.read(der.SET).reader("name").sequence()
            oid, value = attribute.oid(), attribute.read().content
            label = _NAME_LABELS.get(oid, oid)
            parts.append(f"{label}={value.decode('utf-8', 'backslashreplace')[:200]}")
    except FormatError:
        return f"0x{name.hex()[:200]}"
    return ", ".join(reversed(parts)) or "an empty name"


@lru_cache(maxsize=64)
def _basic_constraints(value: bytes) -> tuple[bool, int | None]:
    what = "basic constraints"
    reader = _whole_sequence(value, what)
    flag = reader.optional(der.BOOLEAN)
    is_ca = flag is not None and _boolean(flag, what)
    length = reader.integer() if reader.peek() == der.INTEGER else None
    reader.end()
    if length is not None and (length < 0 or not is_ca):
        raise FormatError(what, "path length makes no sense")
    return is_ca, length


def _whole_sequence(data: bytes, what: str) -> der.Reader:
    return der.decode(data, what, der.SEQUENCE).reader(what)


def _boolean(element: der.Element, what: str) -> bool:
    if element.content not in (b"\x00", b"\xff"):
        raise FormatError(what, "DER boolean is malformed")
    return element.content == b"\xff"


@lru_cache(maxsize=256)
def _public_key(spki: bytes) -> PublicKey:
    return PublicKey.from_spki(spki, "certificate's public key", registry=True)
