# SPDX-License-Identifier: Apache-2.0
"""The newest checkpoint of every log that this user has met, one 0600 file a log.

A log that shows different trees to different people, or takes entries back, is found out by
whoever remembers what it signed. Bundles bring checkpoints along; offline, the one that was known
before is kept beside those that are newer, until the log has proven that it extends them all
(`log_check`). Two different roots for one size need no proof: the log signed both.

On the path of `verify`: one small file is read, and nothing slow imported.
"""

import hashlib
import json
import os
from functools import lru_cache
from typing import Any, NamedTuple

from countermark.client.instances import (
    home_dir,
    locked_home,
    read_private_file,
    write_private_file,
)
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TransparencyLog, TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, from_hex, to_base64
from countermark.core.errors import ConsistencyInvalid, CountermarkError, FormatError, SettingsError
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import NoteKey, SignedNote
from countermark.core.verify.log_entry import checkpoint_key, find_log, key_name

_VERSION = 1
_FOLDER, _SUFFIX = "checkpoints", ".json"
_MAX_NOTES = 16


class SeenLog(NamedTuple):
    """A tree of a log, and what it signed.

    Attributes:
        origin: first line of its checkpoints.
        base_url: where the log is served.
        log_id: 32 bytes.
        key: what its checkpoints are verified with.
        notes: signed checkpoints, verified when they were met, sizes ascending: the one that the
            log last proved to extend, or else the first one met, and newer ones from bundles.
        proven_at_s: when it last proved that, Unix seconds; 0 for never.
    """

    origin: str
    base_url: str
    log_id: bytes
    key: NoteKey
    notes: tuple[str, ...]
    proven_at_s: int = 0

    def newest(self) -> Checkpoint:
        """The largest tree in `notes`."""
        return parse_checkpoint(self.notes[-1])


class LastSeen:
    """What a command remembers of logs. Files are read when a log is first met, written at the end.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._known: dict[str, SeenLog | None] = {}
        self._changed: set[str] = set()
        self._met: dict[str, list[str]] = {}

    def meet(self, bundle: Bundle, root: TrustedRoot) -> None:
        """Compare a verified bundle's checkpoints with those that are remembered, and note them.

        Raises ConsistencyInvalid, with the evidence in a file, for a log that signed two trees
        of one size; FormatError if what is remembered is damaged.
        """
        met = [
            _seen(log, entry.inclusion_proof.checkpoint)
            for entry in bundle.tlog_entries
            if entry.inclusion_proof is not None and entry.inclusion_proof.checkpoint
            for log in (find_log(entry, root.tlogs),)
        ]
        for seen in met:
            path = _path(seen)
            if path not in self._known:
                self._known[path] = _load(path)
            known = self._known[path]
            merged = _merge(known, seen)
            self._met.setdefault(path, []).extend(seen.notes)
            if merged != known:
                self._known[path] = merged
                self._changed.add(path)

    def logs(self) -> list[tuple[SeenLog, tuple[str, ...]]]:
        """Each log that was met, as it is remembered now, and the checkpoints met of it."""
        found: list[tuple[SeenLog, tuple[str, ...]]] = []
        for path, notes in self._met.items():
            seen = self._known[path]
            assert seen is not None
            found.append((seen, tuple(dict.fromkeys(notes))))
        return found

    def save(self) -> None:
        """Write what is new. Raises SettingsError if that cannot be, ConsistencyInvalid."""
        if not self._changed:
            return
        with locked_home():
            for path in self._changed:
                seen = self._known[path]
                assert seen is not None
                _store(path, _merge(_load(path), seen))
        self._changed.clear()


def load_seen(seen: SeenLog) -> SeenLog | None:
    """What is remembered of that log and tree. Raises FormatError if it is damaged."""
    return _load(_path(seen))


def everything_seen() -> list[SeenLog]:
    """All logs, by address and origin. Raises FormatError for a damaged record."""
    folder = os.path.join(home_dir(), _FOLDER)
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"{folder} cannot be read: {error.strerror}") from error
    found = [_load(os.path.join(folder, file)) for file in files if file.endswith(_SUFFIX)]
    return sorted((seen for seen in found if seen), key=lambda seen: (seen.base_url, seen.origin))


def forget_seen(seen: SeenLog) -> None:
    """Remember nothing of that log and tree any more."""
    with locked_home():
        try:
            os.unlink(_path(seen))
        except OSError as error:
            raise SettingsError(f"{_path(seen)} cannot be removed: {error.strerror}") from error


def proven(seen: SeenLog, newest: str, now_s: int) -> SeenLog:
    """Remember that a log's `newest` checkpoint extends all in `seen`, which it replaces.

    What another process met meanwhile is kept.
    """
    with locked_home():
        known = _load(_path(seen))
        later = tuple(note for note in known.notes if note not in seen.notes) if known else ()
        fresh = seen._replace(notes=(newest,), proven_at_s=now_s)
        fresh = _merge(fresh, seen._replace(notes=later), larger_only=False)
        _store(_path(seen), fresh)
    return fresh


@lru_cache(maxsize=256)
def parse_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in a signed note. Raises FormatError."""
    # What is no text is refused there, not here.
    return Checkpoint.parse(SignedNote.parse(note.encode("utf-8", "surrogatepass")).text)


def _seen(log: TransparencyLog, note: str) -> SeenLog:
    origin = parse_checkpoint(note).origin
    key = checkpoint_key(log, key_name(origin))
    return SeenLog(origin, log.base_url, log.log_id, key, (note,))


def _merge(known: SeenLog | None, met: SeenLog, *, larger_only: bool = True) -> SeenLog:
    """`known` with what is new in `met`: checkpoints of larger trees than any before, or all."""
    if known is None:
        return met
    notes = {parse_checkpoint(note).tree_size: note for note in known.notes}
    for note in met.notes:
        size = parse_checkpoint(note).tree_size
        if size in notes:
            if parse_checkpoint(notes[size]).root_hash != parse_checkpoint(note).root_hash:
                raise two_trees(known, notes[size], note)
        elif not larger_only or size > max(notes):
            notes[size] = note
    sizes = sorted(notes)
    kept = sizes[:1] + sizes[1:][-_MAX_NOTES + 1 :]
    return known._replace(notes=tuple(notes[size] for size in kept))


def two_trees(seen: SeenLog, one: str, other: str) -> ConsistencyInvalid:
    """The error for a log that signed two roots for one size; both are kept in a file."""
    from countermark.client.log_evidence import refuse

    size = parse_checkpoint(one).tree_size
    what = f"{seen.base_url} signed two different trees of {size} entries"
    return refuse(seen, what, one, other)


def _path(seen: SeenLog) -> str:
    # The key too: a trusted root may give any key the id of somebody else's log.
    parts = (seen.log_id, seen.key.public_key.spki, seen.origin.encode("utf-8"))
    name = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[
        :40
    ]
    return os.path.join(home_dir(), _FOLDER, name + _SUFFIX)


def _store(path: str, seen: SeenLog) -> None:
    document = {
        "version": _VERSION,
        "origin": seen.origin,
        "baseUrl": seen.base_url,
        "logId": seen.log_id.hex(),
        "key": to_base64(seen.key.public_key.spki),
        "keyHash": seen.key.key_hash.hex(),
        "provenAt": seen.proven_at_s,
        "checkpoints": list(seen.notes),
    }
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    write_private_file(path, json.dumps(document, indent=1).encode("ascii"))


def _load(path: str) -> SeenLog | None:
    data = read_private_file(path)
    if data is None:
        return None
    try:
        tree: Any = json.loads(data)
        if tree["version"] != _VERSION:
            raise SettingsError(f"{path} was written by a newer version")
        texts = [tree["origin"], tree["baseUrl"], *tree["checkpoints"]]
        if not all(isinstance(text, str) for text in texts) or len(texts) == 2:
            raise TypeError("text")
        if type(tree["provenAt"]) is not int:
            raise TypeError("provenAt")
        origin, base_url, *notes = texts
        public_key = PublicKey.from_spki(from_base64(tree["key"], "key"))
        key_hash = from_hex(tree["keyHash"], "keyHash", length=4)
        key = NoteKey(key_name(origin), key_hash, public_key)
        log_id = from_hex(tree["logId"], "logId", length=32)
        seen = SeenLog(origin, base_url, log_id, key, tuple(notes), tree["provenAt"])
        heads = [parse_checkpoint(note) for note in notes]
        sizes = [head.tree_size for head in heads]
        if _path(seen) != path or sizes != sorted(set(sizes)):
            raise ValueError("order")
        if any(head.origin != origin for head in heads):
            raise ValueError("origin")
        return seen
    except SettingsError:
        raise
    except (
        *(ValueError, TypeError, KeyError, AttributeError, RecursionError),
        CountermarkError,
    ) as error:
        damaged = FormatError(path, "is damaged, so what its log signed before is not known")
        damaged.add_note("keep a copy for others to look at, then remove it and go on")
        raise damaged from error
