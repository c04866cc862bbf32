# SPDX-License-Identifier: Apache-2.0
"""Witnesses: who must have cosigned a log's checkpoint before its inclusion proofs count.

A witness cosigns a checkpoint only if it extends the last one that it saw of that log, so a log
cannot show different trees to different people without as many witnesses helping as the policy
asks for. Policies are the text of C2SP tlog-policy::

    # optional: entries of other logs do not count
    log      log.example+5a3b…+AZ…
    # a name of your own, and the witness's key
    witness  W1  witness.example+67f7…+BE…
    witness  W2  other.example+1c2d…+BE…
    # any, all, or how many
    group    G   1  W1 W2
    # a witness, a group, or none
    quorum   G

Cosignatures are those of C2SP tlog-cosignature: Ed25519 over the whole checkpoint with a time, and
ML-DSA-44 over witness, origin, size and root, with a time or without.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from countermark.core.bundle.bundle import TransparencyLogEntry
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, from_utf8
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    InclusionInvalid,
    SignatureInvalid,
)
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import ED25519, NoteKey, SignedNote, check_name
from countermark.core.verify.evidence import Check
from countermark.core.verify.log_entry import checkpoint_key, key_name
from countermark.core.verify.words import utc

MAX_POLICY_BYTES = 64 * 1024
_MAX_LINES, _MAX_NAMES = 1024, 256
_WHAT = "witness policy"
_COSIGNATURE_V1, _COSIGNATURE_ML_DSA_44 = 0x04, 0x06
_TIME_BYTES = 8
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
_ML_DSA_44 = der.sequence(der.oid("2.16.840.1.101.3.4.3.17"))
_SIGNATURE_BYTES = {"PKIX_ED25519": 64, "ML_DSA_44": 2420}
_KEY_BYTES = {ED25519: 32, _COSIGNATURE_V1: 32, _COSIGNATURE_ML_DSA_44: 1312}
_LAST_SECOND = 253402300799
NONE = "none"


class Witness(NamedTuple):
    """A witness's key: the name on its lines, their 4-byte hint, and the key itself."""

    name: str
    key_hash: bytes
    public_key: PublicKey


class Group(NamedTuple):
    """Some of whose members must have cosigned: witnesses and groups named before it."""

    threshold: int
    members: tuple[str, ...]


class Cosignature(NamedTuple):
    """A witness of the policy that cosigned, and when it says it did; None if it does not."""

    witness: str
    time: datetime | None


class WitnessPolicy(NamedTuple):
    """Who must have cosigned.

    Attributes:
        logs: whose entries count; empty for every trusted log's.
        witnesses: by the policy's own name.
        groups: by name, each only of names that come before it.
        quorum: a name of either, or ``none``.
    """

    logs: tuple[NoteKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> "WitnessPolicy":
        """Read a policy. Raises FormatError naming the line."""
        if len(data) > MAX_POLICY_BYTES:
            raise FormatError(_WHAT, f"is larger than {MAX_POLICY_BYTES} bytes")
        text = from_utf8(data, _WHAT)
        if _CONTROL.search(text):
            raise FormatError(_WHAT, "holds control characters other than tabs and newlines")
        lines = text.split("\n")
        if len(lines) > _MAX_LINES:
            raise FormatError(_WHAT, f"has more than {_MAX_LINES} lines")
        reader = _Reader()
        for number, line in enumerate(lines, 1):
            fields = [word for word in re.split("[ \t]", line) if word]
            if not fields or fields[0].startswith("#"):
                continue
            try:
                reader.line(fields)
            except (FormatError, AlgorithmRefused) as error:
                raise FormatError(_WHAT, f"line {number}: {error}") from error
        return reader.policy()

    def cosignatures(self, note: SignedNote) -> list[Cosignature]:
        """The policy's witnesses that cosigned a note.

        Raises InclusionInvalid for a line of theirs that does not verify: who forges one is
        not to be believed about the others. Lines of strangers are passed over.
        """
        found: list[Cosignature] = []
        for own_name, witness in self.witnesses.items():
            times = [
                _verify(line.signature, note, witness)
                for line in note.signatures
                if (line.name, line.key_hash) == (witness.name, witness.key_hash)
            ]
            if times:
                stated = [time for time in times if time is not None]
                found.append(Cosignature(own_name, max(stated, default=None)))
        return found

    def satisfied(self, cosigned: Sequence[str]) -> bool:
        """Whether these witnesses are a quorum."""
        good = set(cosigned)
        for name, group in self.groups.items():  # members come first, so one pass is enough
            if sum(member in good for member in group.members) >= group.threshold:
                good.add(name)
        return self.quorum == NONE or self.quorum in good

    def check_entry(self, entry: TransparencyLogEntry, log: TransparencyLog) -> Check | None:
        """A check for the evidence if the entry's checkpoint is cosigned as it must be.

        The checkpoint must have been verified before. None if the entry does not count: of
        another log than the policy's, or cosigned by too few.
        """
        note = _note_of(entry)
        if note is None or not self._counts(log, note):
            return None
        cosigned = self.cosignatures(note)
        if not self.satisfied([item.witness for item in cosigned]):
            return None
        told = ", ".join(
            f"{item.witness} at {utc(item.time)}" if item.time else item.witness
            for item in cosigned
        )
        return Check(
            "witness",
            f"{len(cosigned)} cosigned the checkpoint of {log.base_url}",
            4,
            f"cosignatures by {told or 'nobody'}",
            f"quorum {self.quorum} of {len(self.witnesses)} witnesses",
            "each of them signed this checkpoint, and signs none that does not extend the last "
            "one it saw",
        )

    def too_few(
        self, entries: Sequence[TransparencyLogEntry], counted: int, wanted: int
    ) -> InclusionInvalid:
        """The error for a bundle whose checkpoints too few witnesses cosigned."""
        told: list[str] = []
        for entry in entries:
            note = _note_of(entry)
            names = [item.witness for item in self.cosignatures(note)] if note else []
            told.append(f"log {entry.log_id.hex()[:16]}…: {', '.join(names) or 'nobody'}")
        error = InclusionInvalid(
            f"{counted} logs show checkpoints that the witness policy accepts, {wanted} must",
            found="cosigned by " + "; ".join(told),
            expected=f"quorum {self.quorum} of {', '.join(self.witnesses) or 'nobody'}",
        )
        error.add_note("ask the signer for a bundle whose checkpoint was cosigned")
        return error

    def _counts(self, log: TransparencyLog, note: SignedNote) -> bool:
        if not self.logs:
            return True
        key = checkpoint_key(log, key_name(Checkpoint.parse(note.text).origin))
        return any(
            (key.name, key.public_key.spki) == (one.name, one.public_key.spki) for one in self.logs
        )


def _note_of(entry: TransparencyLogEntry) -> SignedNote | None:
    proof = entry.inclusion_proof
    if proof is None or not proof.checkpoint:
        return None
    return SignedNote.parse(proof.checkpoint.encode("utf-8"))


def _verify(line: bytes, note: SignedNote, witness: Witness) -> datetime | None:
    time, signature = int.from_bytes(line[:_TIME_BYTES]), line[_TIME_BYTES:]
    kind = witness.public_key.details
    if len(signature) != _SIGNATURE_BYTES[kind] or time > _LAST_SECOND:
        raise InclusionInvalid(f"a cosignature under the name {witness.name} is malformed")
    if kind == "ML_DSA_44":
        message = _message_ml_dsa(witness.name, time, Checkpoint.parse(note.text))
    else:
        message = b"cosignature/v1\ntime %d\n" % time + note.text
    try:
        witness.public_key.verify(signature, message, "cosignature")
    except SignatureInvalid as error:
        raise InclusionInvalid(
            f"a cosignature under the name {witness.name} does not verify",
            found=f"a line of {witness.name} {witness.key_hash.hex()}",
            expected=f"a signature by key sha256:{witness.public_key.key_id.hex()}",
        ) from error
    if not time and kind == "ML_DSA_44":
        return None  # of this kind, zero says nothing
    return datetime.fromtimestamp(time, UTC)


def _message_ml_dsa(name: str, time: int, checkpoint: Checkpoint) -> bytes:
    names = [text.encode("utf-8") for text in (name, checkpoint.origin)]
    if max(map(len, names)) > 255:
        raise InclusionInvalid("names of more than 255 bytes cannot be cosigned")
    cosigner, origin = (bytes((len(text),)) + text for text in names)
    size = checkpoint.tree_size.to_bytes(8)
    whole = cosigner + time.to_bytes(8) + origin + bytes(8) + size
    return b"subtree/v1\n\0" + whole + checkpoint.root_hash


class _Reader:
    """What the lines so far have said."""

    def __init__(self) -> None:
        self.logs: list[NoteKey] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.keys: set[bytes] = set()
        self.members: set[str] = set()
        self.quorum = ""

    def line(self, fields: list[str]) -> None:
        word, *rest = fields
        if word == "log" and len(rest) in (1, 2):
            self._log(rest[0])
        elif word == "witness" and len(rest) in (2, 3):
            self._witness(rest[0], rest[1])
        elif word == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], tuple(rest[2:]))
        elif word == "quorum" and len(rest) == 1:
            if self.quorum:
                raise FormatError("quorum", "is said twice")
            if rest[0] != NONE and rest[0] not in self.witnesses | self.groups:
                raise FormatError("quorum", f"{rest[0][:80]!r} is not defined above")
            self.quorum = rest[0]
        else:
            raise FormatError(word[:80], "is no line of a policy, or has other fields")

    def policy(self) -> WitnessPolicy:
        if not self.quorum:
            raise FormatError(_WHAT, "names no quorum")
        return WitnessPolicy(tuple(self.logs), self.witnesses, self.groups, self.quorum)

    def _log(self, text: str) -> None:
        key = NoteKey.parse(text)
        if any(key.public_key == known.public_key for known in self.logs):
            raise FormatError("log", "has the key of another one")
        if len(self.logs) == _MAX_NAMES:
            raise FormatError("log", f"stands there more than {_MAX_NAMES} times")
        self.logs.append(key)

    def _witness(self, name: str, text: str) -> None:
        self._define(name)
        witness = _parse_key(text)
        if witness.public_key.spki in self.keys:
            raise FormatError("witness", "has the key of another one")
        self.keys.add(witness.public_key.spki)
        self.witnesses[name] = witness

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self._define(name)
        for member in members:
            if member not in self.witnesses | self.groups:
                raise FormatError("group", f"member {member[:80]!r} is not defined above")
            if member in self.members:
                raise FormatError("group", f"{member[:80]!r} is in a group already")
            self.members.add(member)
        words = {"any": 1, "all": len(members)}
        count = words.get(threshold) or _count(threshold)
        if not 1 <= count <= len(members):
            raise FormatError("group", f"cannot ask for {count} of {len(members)}")
        self.groups[name] = Group(count, members)

    def _define(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise FormatError("name", f"{name[:80]!r} is taken")
        if len(self.witnesses) + len(self.groups) == _MAX_NAMES:
            raise FormatError(_WHAT, f"defines more than {_MAX_NAMES} names")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and text[0] != "0"):
        raise FormatError("group", f"{text[:80]!r} is not any, all or a number")
    return int(text)


def _parse_key(text: str) -> Witness:
    """A verifier key; of type Ed25519 as well, as witnesses published theirs at first."""
    name, _, rest = text.partition("+")
    hint, _, encoded = rest.partition("+")
    check_name(name)
    data = from_base64(encoded, "witness key")
    kind, raw = data[0] if data else 0, data[1:]
    if len(raw) != _KEY_BYTES.get(kind, -1):
        raise FormatError("witness key", "is neither an Ed25519 nor an ML-DSA-44 key")

    def key_hash(kind: int) -> bytes:
        return hashlib.sha256(f"{name}\n".encode() + bytes((kind,)) + raw).digest()[:4]

    if hint != key_hash(kind).hex():
        raise FormatError("witness key", "has a hash that is not the key's")
    if kind == _COSIGNATURE_ML_DSA_44:
        spki = der.sequence(_ML_DSA_44, der.bit_string(raw))
        key = PublicKey.from_spki(spki, "witness key", registry=True)
        return Witness(name, key_hash(kind), key)
    key = PublicKey.from_spki(_SPKI_ED25519 + raw, "witness key")
    return Witness(name, key_hash(_COSIGNATURE_V1), key)
