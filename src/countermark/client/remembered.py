# SPDX-License-Identifier: Apache-2.0
"""Signers that the user chose to remember: one 0600 file for each name, in the folder `signers`.

A name stands for all versions of an artifact (``app-*.tar.gz``). Whoever can write this folder
chooses whom the user takes for the same signer as before, hence the checks of owner and mode.
A name that is not there was never remembered; a file that cannot be read is an error.

On the path of `verify`: one small file is read, and nothing slow imported.
"""

import hashlib
import json
import os
from typing import Any, NamedTuple

from countermark.client.instances import (
    home_dir,
    locked_home,
    read_private_file,
    write_private_file,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, to_base64
from countermark.core.errors import CountermarkError, FormatError, SettingsError
from countermark.core.verify.signer import SignerIdentity

_VERSION = 1
_FOLDER = "signers"
_SUFFIX = ".json"


class Remembered(NamedTuple):
    """Whom the user takes for the signer of a name.

    Attributes:
        name: what it is remembered as.
        signer: the certified identity; None for a managed key.
        key: DER SPKI of the managed key; empty for a certified identity.
        root: what the trusted root was called that it was believed under.
        file: the file that it was learned from, without its folder.
        at_s: when, Unix seconds.
    """

    name: str
    signer: SignerIdentity | None
    key: bytes
    root: str
    file: str
    at_s: int


def find(name: str) -> Remembered | None:
    """Who is remembered under a name. Raises FormatError if the record is damaged."""
    data = read_private_file(_path(name))
    return None if data is None else _parse(data, name)


def remember(record: Remembered) -> bool:
    """Remember a signer, unless the name stands for somebody already: then False, and no change."""
    with locked_home():
        if find(record.name) is not None:
            return False
        path = _path(record.name)
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
        write_private_file(path, json.dumps(_to_json(record), indent=1).encode("ascii"))
    return True


def forget(name: str) -> bool:
    """Forget a name, damaged or not; says whether there was anything to forget."""
    with locked_home():
        try:
            os.unlink(_path(name))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SettingsError(f"{_path(name)} cannot be removed: {error.strerror}") from error
    return True


def everybody() -> list[Remembered]:
    """All records, by name. Raises FormatError for a damaged one, naming its file."""
    folder = os.path.join(home_dir(), _FOLDER)
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"{folder} cannot be read: {error.strerror}") from error
    found: list[Remembered] = []
    for file in files:
        if file.endswith(_SUFFIX):
            data = read_private_file(os.path.join(folder, file))
            if data is not None:  # else forgotten meanwhile
                found.append(_parse(data, file=file))
    return sorted(found)


def _path(name: str) -> str:
    # Names are foreign text of any length, surrogates for bytes that are no UTF-8 included.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return os.path.join(home_dir(), _FOLDER, digest[:40] + _SUFFIX)


def _to_json(record: Remembered) -> dict[str, Any]:
    tree: dict[str, Any] = {"version": _VERSION, "name": record.name}
    if record.signer is not None:
        tree["signer"] = {
            "kind": record.signer.kind,
            "name": record.signer.name,
            "issuer": record.signer.issuer,
            "extensions": {str(number): text for number, text in record.signer.extensions},
        }
    else:
        tree["key"] = to_base64(record.key)
    return tree | {"root": record.root, "file": record.file, "rememberedAt": record.at_s}


def _parse(data: bytes, name: str = "", file: str = "") -> Remembered:
    """Read a record, which must be that of `name`, or lie in the `file` of its own name."""
    try:
        tree: Any = json.loads(data)
        if tree["version"] != _VERSION:
            raise SettingsError("a remembered signer was written by a newer version")
        found = _text(tree, "name")
        if (name and found != name) or (file and os.path.basename(_path(found)) != file):
            raise ValueError("another name")
        signer, key = None, b""
        if "signer" in tree:
            signer = _signer(tree["signer"])
        else:
            key = from_base64(_text(tree, "key"), "key")
            PublicKey.from_spki(key)
        at_s = tree["rememberedAt"]
        if type(at_s) is not int:
            raise TypeError("rememberedAt")
        return Remembered(found, signer, key, _text(tree, "root"), _text(tree, "file"), at_s)
    except SettingsError:
        raise
    except (
        *(ValueError, TypeError, KeyError, AttributeError, RecursionError, LookupError),
        CountermarkError,
    ) as error:
        damaged = FormatError(f"record of {name or file} in {home_dir()}/{_FOLDER}", "is damaged")
        damaged.add_note("if you know whom it named, `countermark signers forget NAME` and go on")
        raise damaged from error


def _signer(tree: dict[str, Any]) -> SignerIdentity:
    extensions = sorted((int(number), text) for number, text in tree["extensions"].items())
    if not all(isinstance(text, str) for _, text in extensions):
        raise TypeError("extensions")
    kind, name, issuer = (_text(tree, key) for key in ("kind", "name", "issuer"))
    return SignerIdentity(kind, name, issuer, tuple(extensions))


def _text(tree: dict[str, Any], name: str) -> str:
    value = tree[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value
