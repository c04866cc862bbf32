# SPDX-License-Identifier: Apache-2.0
"""Signed notes: a text and the signature lines below it. Format: C2SP signed-note.

A note looks like this (the dash is U+2014)::

    This is the text.

    — example.com/key dGhlIGhhc2ggYW5kIHRoZSBzaWduYXR1cmU=

A signature is found by its key's name *and* 4-byte key hash, wherever its line stands; lines of
keys that are not asked for (witnesses) are ignored. Rekor v1 and every ECDSA log use the first
bytes of SHA-256 over the SPKI as key hash, whatever the specification says for the key's type.
"""

import hashlib
import re
from typing import NamedTuple, Self

from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, from_utf8, to_base64
from countermark.core.errors import FormatError, SignatureInvalid

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 128
KEY_HASH_BYTES = 4
ED25519 = 0x01

_DASH = "\N{EM DASH} "
# Go's unicode.IsSpace and the plus sign, both refused in key names.
_BAD_NAME = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000+]")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_KEY_HASH = re.compile(r"[0-9a-f]{8}", re.ASCII)
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")


class NoteSignature(NamedTuple):
    """One signature line.

    Attributes:
        name: of the key.
        key_hash: 4 bytes; a hint, not authenticated.
        signature: what follows the hint; its form is the key type's.
    """

    name: str
    key_hash: bytes
    signature: bytes

    def serialize(self) -> str:
        """The line, newline included."""
        return f"{_DASH}{self.name} {to_base64(self.key_hash + self.signature)}\n"


class NoteKey(NamedTuple):
    """A public key that signs notes under a name.

    Attributes:
        name: non-empty, without spaces and plus signs.
        key_hash: the 4 bytes that its signature lines start with.
        public_key: Ed25519 (pure) or ECDSA (DER, the curve's own hash).
    """

    name: str
    key_hash: bytes
    public_key: PublicKey

    @classmethod
    def for_key(cls, name: str, public_key: PublicKey) -> Self:
        """A key with the hash that C2SP signed-note defines for its type."""
        if public_key.details == "PKIX_ED25519":
            raw = public_key.spki.removeprefix(_SPKI_ED25519)
            return cls(name, key_hash_ed25519(name, raw), public_key)
        return cls.for_rekor_v1(name, public_key)

    @classmethod
    def for_rekor_v1(cls, name: str, public_key: PublicKey) -> Self:
        """A key with the hash that Rekor v1 uses for keys of every type."""
        return cls(name, public_key.key_id[:KEY_HASH_BYTES], public_key)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key, ``name+hash+base64(type, key)``. Ed25519 only, else FormatError."""
        name, plus, rest = text.partition("+")
        key_hash, plus2, encoded = rest.partition("+")
        check_name(name)
        if not (plus and plus2 and _KEY_HASH.fullmatch(key_hash)):
            raise FormatError("verifier key", "is not name+hash+key")
        data = from_base64(encoded, "verifier key")
        if len(data) != 33 or data[0] != ED25519:
            raise FormatError("verifier key", "is not an Ed25519 key")
        if key_hash_ed25519(name, data[1:]).hex() != key_hash:
            raise FormatError("verifier key", "does not match its own hash")
        key = PublicKey.from_spki(_SPKI_ED25519 + data[1:], "verifier key")
        return cls(name, bytes.fromhex(key_hash), key)


class SignedNote(NamedTuple):
    """A text with signatures that nobody checked yet.

    Attributes:
        text: what is signed, its final newline included.
        signatures: at least one, in the order of their lines.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a note; inverse of `serialize`. Raises FormatError.

        The text may hold blank lines; the last one ends it. Lines end with ``\\n`` only.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise FormatError("signed note", f"is larger than {MAX_NOTE_BYTES} bytes")
        note = from_utf8(data, "signed note")
        if _CONTROL.search(note):
            raise FormatError("signed note", "holds a control character")
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise FormatError("signed note", "has no signature lines below a blank line")
        signatures = lines[:-1].split("\n")
        if len(signatures) > MAX_SIGNATURES:
            raise FormatError("signed note", f"has more than {MAX_SIGNATURES} signatures")
        return cls(f"{text}\n".encode(), tuple(map(_parse_signature, signatures)))

    def serialize(self) -> bytes:
        """Encode, so that ``SignedNote.parse(n.serialize()) == n``."""
        lines = "".join(signature.serialize() for signature in self.signatures)
        return self.text + b"\n" + lines.encode("utf-8")

    def verify(self, key: NoteKey, what: str = "signed note") -> None:
        """Check the signature of `key`. Raises SignatureInvalid if none is there or one is wrong.

        Every line with the key's name and hash must verify; all others are ignored.
        """
        found = False
        for line in self.signatures:
            if line.name == key.name and line.key_hash == key.key_hash:
                key.public_key.verify(line.signature, self.text, f"signature of {what}")
                found = True
        if not found:
            raise SignatureInvalid(f"{what} has no signature by {key.name}")


def key_hash_ed25519(name: str, raw: bytes) -> bytes:
    """The key hash of a 32-byte Ed25519 key (C2SP signed-note, type 0x01)."""
    digest = hashlib.sha256(name.encode("utf-8") + b"\n" + bytes((ED25519,)) + raw)
    return digest.digest()[:KEY_HASH_BYTES]


def check_name(name: str) -> None:
    """Raise FormatError unless `name` can name a key."""
    if not name or _BAD_NAME.search(name) or _CONTROL.search(name):
        raise FormatError("note key name", f"{name[:64]!r} is empty or holds a space or plus sign")


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise FormatError("note signature", "is not a dash, a name and base64")
    check_name(name)
    data = from_base64(encoded, "note signature")
    if len(data) <= KEY_HASH_BYTES:
        raise FormatError("note signature", "is too short")
    return NoteSignature(name, data[:KEY_HASH_BYTES], data[KEY_HASH_BYTES:])
