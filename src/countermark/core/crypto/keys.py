# SPDX-License-Identifier: Apache-2.0
"""Public keys: reading, naming and checking signatures with them.

A `PublicKey` knows its algorithm and nothing about trust. Names are those of Sigstore's
PublicKeyDetails registry. ECDSA signatures are DER. What one key can do in more than one way
(RSA with PKCS#1 v1.5 or PSS, Ed25519 pure or prehashed, P-384 with SHA-256) is a `PublicKey`
each: `used_as` gives the others.
"""

import hashlib
import re
from binascii import b2a_base64
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from countermark.core.crypto import der
from countermark.core.encoding import from_base64_bits
from countermark.core.errors import AlgorithmRefused, FormatError, SignatureInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, rsa
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

# RSA and Ed25519 are imported where they are met, and SPKIs are taken apart here rather than by
# `cryptography`'s serialization module: imports are most of a single verification's time.
MLDSAPublicKey: TypeAlias = (
    "mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey"
)
AnyPublicKey: TypeAlias = (
    "ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | MLDSAPublicKey"
)

_OID_EC = "1.2.840.10045.2.1"
_OID_RSA = "1.2.840.113549.1.1.1"
_OID_RSA_PSS = "1.2.840.113549.1.1.10"
_OID_ED25519 = "1.3.101.112"
# FIPS 204 keys (RFC 9881): OID → name, bytes of the key.
_ML_DSA = {
    "2.16.840.1.101.3.4.3.17": ("ML_DSA_44", 1312),
    "2.16.840.1.101.3.4.3.18": ("ML_DSA_65", 1952),
    "2.16.840.1.101.3.4.3.19": ("ML_DSA_87", 2592),
}
_CURVES: dict[str, tuple[type[ec.EllipticCurve], str, str]] = {
    "1.2.840.10045.3.1.7": (ec.SECP256R1, "PKIX_ECDSA_P256_SHA_256", "sha256"),
    "1.3.132.0.34": (ec.SECP384R1, "PKIX_ECDSA_P384_SHA_384", "sha384"),
    "1.3.132.0.35": (ec.SECP521R1, "PKIX_ECDSA_P521_SHA_512", "sha512"),
}
_HASHES: dict[str, type[SHA256] | type[SHA384] | type[SHA512]] = {
    "sha256": SHA256,
    "sha384": SHA384,
    "sha512": SHA512,
}
_RSA_BITS = (2048, 3072, 4096)
_MAX_EXPONENT_BITS = 31
# Most keys by far are P-256, whose SPKI is a constant before the point: no DER need be read.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_BYTES = 91
_P256 = ec.SECP256R1()
# Ed25519 points of small order, y coordinates as encoded, the sign bit left out (all spellings).
# Signatures under such a key verify over anything at all.
_SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
_MAX_SPKI_BYTES = 4096
_RSA_PKCS1, _RSA_PSS = "PKIX_RSA_PKCS1V15_", "PKIX_RSA_PSS_"
_PURE = ("PKIX_ED25519", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87")
# What else a key of the first name may be used as: name → the hash it then signs with.
_USES: dict[str, dict[str, str]] = {
    "PKIX_ED25519": {"PKIX_ED25519_PH": "sha512"},
    "PKIX_ECDSA_P384_SHA_384": {"PKIX_ECDSA_P384_SHA_256": "sha256"},
    "PKIX_ECDSA_P521_SHA_512": {"PKIX_ECDSA_P521_SHA_256": "sha256"},
    **{f"{_RSA_PKCS1}{bits}_SHA256": {f"{_RSA_PSS}{bits}_SHA256": "sha256"} for bits in _RSA_BITS},
}
# Names of the registry that said less, no longer given to new keys.
_OLD_NAMES = {"PKIX_RSA_PKCS1V5": _RSA_PKCS1, "PKIX_RSA_PSS": _RSA_PSS}
_PEM = re.compile(
    r"\s*-----BEGIN ([A-Z0-9 ]+)-----\r?\n([^-]+)-----END \1-----\s*",
    re.ASCII,
)
_MAX_PEM_BYTES = 64 * 1024


class PublicKey(NamedTuple):
    """A public key of an allowed kind.

    Attributes:
        spki: DER SubjectPublicKeyInfo. The reader is strict, so equal keys are equal bytes.
        details: PublicKeyDetails name, e.g. ``PKIX_ECDSA_P256_SHA_256``.
        hash_name: the hash the key signs with (``sha256``…); empty for pure Ed25519 and ML-DSA.
    """

    spki: bytes
    details: str
    hash_name: str

    @classmethod
    def from_spki(
        cls, data: bytes, what: str = "public key", *, registry: bool = False
    ) -> "PublicKey":
        """Read a DER SubjectPublicKeyInfo.

        Args:
            data: the bytes.
            what: to call it in errors.
            registry: whether to take every kind in Sigstore's registry, RSA-PSS keys and ML-DSA
                with them, rather than those that Rekor and Fulcio take.

        Raises FormatError for bytes that are no key, AlgorithmRefused for kinds that are not
        allowed (odd RSA sizes, other curves, DSA, X25519…).
        """
        if len(data) > _MAX_SPKI_BYTES:
            raise FormatError(what, f"is larger than {_MAX_SPKI_BYTES} bytes")
        if len(data) == _P256_BYTES and data.startswith(_P256_PREFIX):
            return cls._loaded(data, "PKIX_ECDSA_P256_SHA_256", "sha256", what)
        info = der.decode(data, what, der.SEQUENCE).reader(what)
        algorithm = info.sequence()
        kind = algorithm.oid()
        bits = der.decode_bit_string(info.read(), what)
        info.end()
        if kind == _OID_EC:
            curve = algorithm.oid()
            if curve not in _CURVES:
                raise AlgorithmRefused(f"{what}: curve {curve} is not allowed")
            details, hash_name = _CURVES[curve][1:]
            if not bits.startswith(b"\x04"):  # one key, one spelling; Go takes no other either
                raise FormatError(what, "is not an uncompressed curve point")
        elif kind == _OID_RSA:
            if algorithm.read(der.NULL).content:
                raise FormatError(what, "has RSA parameters that are not NULL")
            details, hash_name = _rsa_details(bits, what), "sha256"
        elif kind == _OID_RSA_PSS and registry:
            if algorithm:  # restricted to one hash and salt: nobody makes such keys for this
                raise AlgorithmRefused(f"{what}: RSA-PSS keys with parameters are not allowed")
            details, hash_name = _rsa_details(bits, what).replace(_RSA_PKCS1, _RSA_PSS), "sha256"
        elif kind in _ML_DSA and registry:
            (details, length), hash_name = _ML_DSA[kind], ""
            if len(bits) != length:
                raise FormatError(what, f"holds {len(bits)} bytes instead of {length}")
        elif kind == _OID_ED25519:
            details, hash_name = "PKIX_ED25519", ""
            if len(bits) == 32 and bits[:31] + bytes((bits[31] & 0x7F,)) in _SMALL_ORDER:
                raise AlgorithmRefused(f"{what}: the Ed25519 key is a point of small order")
        else:
            raise AlgorithmRefused(f"{what}: keys of algorithm {kind} are not allowed")
        algorithm.end()
        return cls._loaded(data, details, hash_name, what)

    @classmethod
    def _loaded(cls, spki: bytes, details: str, hash_name: str, what: str) -> "PublicKey":
        key = cls(spki, details, hash_name)
        try:
            _load(key)
        except UnsupportedAlgorithm as error:
            raise AlgorithmRefused(
                f"{what}: the {details} algorithm is not there in this build of cryptography"
            ) from error
        except ValueError as error:
            raise FormatError(what, "is not a valid key of its kind") from error
        return key

    @classmethod
    def from_pem(
        cls, text: str, what: str = "public key", *, registry: bool = False
    ) -> "PublicKey":
        """Read one PEM ``PUBLIC KEY`` block; see `from_spki`."""
        label, data = decode_pem(text, what)
        if label != "PUBLIC KEY":
            raise FormatError(what, f"is a PEM {label[:40]!r} block instead of 'PUBLIC KEY'")
        return cls.from_spki(data, what, registry=registry)

    @property
    def uses(self) -> tuple["PublicKey", ...]:
        """This key in every way it can sign, its usual one first."""
        others = _USES.get(self.details, {})
        return (self, *(self._replace(details=n, hash_name=h) for n, h in others.items()))

    def used_as(self, details: str, what: str = "public key") -> "PublicKey":
        """This key used as a trusted file says. Raises AlgorithmRefused if it cannot be."""
        prefix = _OLD_NAMES.get(details, "")
        for use in self.uses:
            if use.details == details or (prefix and use.details.startswith(prefix)):
                return use
        raise AlgorithmRefused(f"{what} is {self.details}, declared as {details[:80]}")

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the SPKI: log id of v1 and CT logs, RFC 6962 section 3.2."""
        return hashlib.sha256(self.spki).digest()

    def to_pem(self) -> str:
        """PEM ``PUBLIC KEY``, 64 columns, final newline."""
        return encode_pem("PUBLIC KEY", self.spki)

    def verify(self, signature: bytes, message: bytes, what: str = "signature") -> None:
        """Check a signature over `message`. Raises SignatureInvalid."""
        self._check(signature, message, self.hash_name, what, prehashed=False)

    def verify_digest(
        self, signature: bytes, digest: bytes, hash_name: str, what: str = "signature"
    ) -> None:
        """Check a signature over data known by its digest (pure Ed25519 and ML-DSA have none)."""
        self._check(signature, digest, hash_name, what, prehashed=True)

    def verify_with_hash(
        self, signature: bytes, message: bytes, hash_name: str, what: str = "signature"
    ) -> None:
        """Check a signature made with another hash than the key's own, e.g. P-384 with SHA-256."""
        self._check(signature, message, hash_name, what, prehashed=False)

    def _check(
        self,
        signature: bytes,
        data: bytes,
        hash_name: str,
        what: str,
        *,
        prehashed: bool,
    ) -> None:
        key = _load(self)
        try:
            if self.details.startswith("PKIX_ECDSA"):
                cast("ec.EllipticCurvePublicKey", key).verify(
                    signature, data, _ecdsa(hash_name, prehashed=prehashed)
                )
            elif self.details in _PURE:
                if prehashed:
                    raise AlgorithmRefused(f"{what}: {self.details} keys check no bare digest")
                cast("ed25519.Ed25519PublicKey | MLDSAPublicKey", key).verify(signature, data)
            elif self.details == "PKIX_ED25519_PH":
                self._check_ed25519ph(signature, data, hash_name, what, prehashed=prehashed)
            else:
                from cryptography.hazmat.primitives.asymmetric import padding

                algorithm = _algorithm(hash_name, prehashed=prehashed)
                scheme: padding.AsymmetricPadding = padding.PKCS1v15()
                if self.details.startswith(_RSA_PSS):
                    # Any salt, like Go's: its length is no part of what is trusted.
                    scheme = padding.PSS(padding.MGF1(_HASHES[hash_name]()), padding.PSS.AUTO)
                cast("rsa.RSAPublicKey", key).verify(signature, data, scheme, algorithm)
        except InvalidSignature as error:
            raise SignatureInvalid(f"{what} does not verify under the key") from error
        except ValueError as error:  # a digest of the wrong length
            raise SignatureInvalid(f"{what}: {error}") from error

    def _check_ed25519ph(
        self, signature: bytes, data: bytes, hash_name: str, what: str, *, prehashed: bool
    ) -> None:
        from countermark.core.crypto.ed25519ph import verify_ed25519ph

        if hash_name != "sha512":
            raise AlgorithmRefused(f"{what}: Ed25519ph signs SHA-512 digests, not {hash_name}")
        digest = data if prehashed else hashlib.sha512(data).digest()
        if not verify_ed25519ph(self.spki[-32:], signature, digest):
            raise InvalidSignature


class _ECDSA(ec.ECDSA):
    """ECDSA for checking only: the base's constructor imports a backend, 12 ms of each start."""

    def __init__(self, algorithm: "HashAlgorithm | Prehashed") -> None:
        self._checked_with = algorithm

    @property
    def algorithm(self) -> "HashAlgorithm | Prehashed":
        return self._checked_with


@lru_cache(maxsize=8)
def _ecdsa(hash_name: str, *, prehashed: bool) -> _ECDSA:
    return _ECDSA(_algorithm(hash_name, prehashed=prehashed))


def _algorithm(hash_name: str, *, prehashed: bool) -> "HashAlgorithm | Prehashed":
    algorithm = _HASHES[hash_name]()
    return Prehashed(algorithm) if prehashed else algorithm


def _rsa_details(bits: bytes, what: str) -> str:
    reader = der.decode(bits, what, der.SEQUENCE).reader(what)
    modulus, exponent = reader.integer(), reader.integer()
    size = modulus.bit_length()
    if size not in _RSA_BITS:
        raise AlgorithmRefused(f"{what}: RSA keys of {size} bits are not allowed")
    if modulus < 0 or exponent < 3:  # under exponent 1, everybody can sign
        raise FormatError(what, "is not a valid key of its kind")
    # Go's limit. An exponent as long as the modulus makes checking 200 times as slow.
    if exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise AlgorithmRefused(f"{what}: the RSA exponent has more than {_MAX_EXPONENT_BITS} bits")
    return f"PKIX_RSA_PKCS1V15_{size}_SHA256"


@lru_cache(maxsize=16)
def _load(key: PublicKey) -> AnyPublicKey:
    if key.spki.startswith(_P256_PREFIX):
        point = key.spki[len(_P256_PREFIX) - 1 :]
        return ec.EllipticCurvePublicKey.from_encoded_point(_P256, point)
    info = der.Reader(key.spki, "public key").sequence()
    algorithm = info.sequence()
    kind = algorithm.oid()
    bits = der.decode_bit_string(info.read(), "public key")
    if kind == _OID_EC:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm.oid()][0](), bits)
    if kind == _OID_ED25519:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(bits)
    if kind in _ML_DSA:
        return _load_ml_dsa(_ML_DSA[kind][0], bits)
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    reader = der.Reader(bits, "RSA public key").sequence()
    modulus, exponent = reader.integer(), reader.integer()
    reader.end()
    return RSAPublicNumbers(exponent, modulus).public_key()


def _load_ml_dsa(name: str, data: bytes) -> "MLDSAPublicKey":
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:  # before cryptography 46
        raise UnsupportedAlgorithm(f"{name} is unknown here") from error
    if name == "ML_DSA_44":
        return mldsa.MLDSA44PublicKey.from_public_bytes(data)
    if name == "ML_DSA_65":
        return mldsa.MLDSA65PublicKey.from_public_bytes(data)
    return mldsa.MLDSA87PublicKey.from_public_bytes(data)


def encode_pem(label: str, data: bytes) -> str:
    """PEM with 64 columns and a final newline (RFC 7468)."""
    # 48 bytes are 64 characters, and b2a_base64 ends them with a newline.
    lines = b"".join([b2a_base64(data[at : at + 48]) for at in range(0, len(data), 48)])
    return f"-----BEGIN {label}-----\n{lines.decode('ascii')}-----END {label}-----\n"


def decode_pem(text: str, what: str) -> tuple[str, bytes]:
    """Label and content of exactly one PEM block, white space around it allowed."""
    blocks = decode_pem_blocks(text, what)
    if len(blocks) != 1:
        raise FormatError(what, f"holds {len(blocks)} PEM blocks instead of one")
    return blocks[0]


def decode_pem_blocks(text: str, what: str, *, maximum: int = 10) -> list[tuple[str, bytes]]:
    """Labels and contents of one or more PEM blocks with nothing but white space between."""
    if len(text) > _MAX_PEM_BYTES:
        raise FormatError(what, f"is larger than {_MAX_PEM_BYTES} bytes of PEM")
    blocks: list[tuple[str, bytes]] = []
    position = 0
    while position < len(text):
        match = _PEM.match(text, position)
        if match is None:
            raise FormatError(what, "is not PEM")
        if len(blocks) == maximum:
            raise FormatError(what, f"holds more than {maximum} PEM blocks")
        blocks.append((match[1], from_base64_bits("".join(match[2].split()), what)))
        position = match.end()
    if not blocks:
        raise FormatError(what, "is empty")
    return blocks
