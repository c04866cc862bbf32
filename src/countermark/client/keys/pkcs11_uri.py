# SPDX-License-Identifier: Apache-2.0
"""PKCS#11 URIs (RFC 7512): which key on which token, through which library, with which PIN.

Attributes that narrow the choice and that we do not compare are refused: ignoring one could
pick another key. Everything is case-sensitive text, except `id`, which is bytes.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from countermark.core.encoding import from_decimal, from_utf8
from countermark.core.errors import FormatError, RequestRejected

SCHEME: Final = "pkcs11:"
_MAX_CHARS: Final = 4096
_ATTRIBUTE: Final = re.compile(
    r"([a-z0-9-]{1,40})=((?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|&]|%[0-9A-Fa-f]{2})*)", re.ASCII
)
_PATH: Final = ("token", "manufacturer", "serial", "model", "slot-id", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-value", "pin-source")
_TYPES: Final = ("private", "public")


class KeyURI(NamedTuple):
    """What a URI says; None for what it does not say.

    Attributes:
        token: the token's label.
        manufacturer: the token's.
        serial: the token's serial number.
        model: the token's.
        slot_id: number of the slot, which may change when devices are plugged in.
        label: the key's (`object`).
        key_id: the key's `CKA_ID`.
        module_path: the library that speaks to the token.
        pin: the user's PIN, in the URI itself.
        pin_file: a file that holds it.
    """

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    slot_id: int | None = None
    label: str | None = None
    key_id: bytes | None = None
    module_path: str | None = None
    pin: str | None = None
    pin_file: str | None = None

    @classmethod
    def parse(cls, text: str) -> "KeyURI":
        """Read a URI. Raises FormatError, RequestRejected for attributes that we don't compare."""
        if not text.startswith(SCHEME) or len(text) > _MAX_CHARS:
            raise FormatError("PKCS#11 URI", f"does not begin with {SCHEME!r}, or is too long")
        path, _, query = text.removeprefix(SCHEME).partition("?")
        said = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
        kind = said.pop("type", b"private")
        if kind.decode("latin-1") not in _TYPES:
            raise RequestRejected("the PKCS#11 URI names something else than a key")
        key_id = said.pop("id", None)
        texts = {name: from_utf8(value, f"PKCS#11 URI's {name}") for name, value in said.items()}
        slot = texts.get("slot-id")
        return cls(
            token=texts.get("token"),
            manufacturer=texts.get("manufacturer"),
            serial=texts.get("serial"),
            model=texts.get("model"),
            slot_id=None if slot is None else from_decimal(slot, "PKCS#11 URI's slot-id"),
            label=texts.get("object"),
            key_id=key_id,
            module_path=texts.get("module-path"),
            pin=texts.get("pin-value"),
            pin_file=_file(texts.get("pin-source")),
        )

    def __repr__(self) -> str:
        return f"KeyURI({self})"

    def __str__(self) -> str:
        """The URI without library and PIN: to show, and to write down."""
        said = {
            "token": self.token,
            "manufacturer": self.manufacturer,
            "serial": self.serial,
            "model": self.model,
            "slot-id": None if self.slot_id is None else str(self.slot_id),
            "object": self.label,
            "id": self.key_id,
        }
        return SCHEME + _joined(";", said)

    def to_text(self) -> str:
        """The whole URI, PIN and all: for a secret file."""
        said = {
            "module-path": self.module_path,
            "pin-value": self.pin,
            "pin-source": self.pin_file,
        }
        query = _joined("&", said)
        return f"{self}?{query}" if query else str(self)


def _joined(separator: str, said: Mapping[str, str | bytes | None]) -> str:
    return separator.join(
        f"{name}={quote(value, safe='')}" for name, value in said.items() if value is not None
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        match = _ATTRIBUTE.fullmatch(part)
        if match is None:
            raise FormatError("PKCS#11 URI", "has an attribute that is not NAME=VALUE")
        name, value = match[1], unquote_to_bytes(match[2])
        if name not in known:
            raise RequestRejected(f"the PKCS#11 URI's attribute {name} is not supported")
        if name in found:
            raise FormatError("PKCS#11 URI", f"says {name} twice")
        if b"\x00" in value and name != "id":
            raise FormatError("PKCS#11 URI", f"has a zero byte in {name}")
        found[name] = value
    return found


def _file(source: str | None) -> str | None:
    """The path in a ``pin-source``; the form that runs a program is refused."""
    if source is None:
        return None
    if source.startswith("|"):
        raise RequestRejected("a PIN is not taken from a program")
    return source.removeprefix("file://").removeprefix("file:")
