# SPDX-License-Identifier: Apache-2.0
"""Messages about the instance as a whole."""

import msgspec

from countermark.rpc.message import Request


class LogStatus(msgspec.Struct, frozen=True):
    """Where one log stands.

    Attributes:
        name: in the store.
        origin: first line of its checkpoints.
        tree_size: of its newest durable head.
        root_hash: of that head.
        time_ms: when that head was signed.
        published_size: below it, everything is in the object store.
        frozen: whether it takes nothing any more.
    """

    name: str
    origin: str
    tree_size: int
    root_hash: bytes
    time_ms: int
    published_size: int
    frozen: bool


class InstanceStatus(msgspec.Struct, frozen=True):
    """The keeper is there, and this is what it keeps.

    Attributes:
        pid: its process.
        started_ms: Unix time.
        logs: all of them.
    """

    pid: int
    started_ms: int
    logs: tuple[LogStatus, ...]


class GetStatus(Request[InstanceStatus], tag="instance.status", frozen=True):
    """Asks whether the keeper does its work."""


class Readiness(msgspec.Struct, frozen=True):
    """What keeps the keeper from its work; empty if nothing does. Sentences without a period."""

    problems: tuple[str, ...]


class GetReadiness(Request[Readiness], tag="instance.readiness", frozen=True):
    """Asks whether entries can be logged and published."""


class PublicKeys(msgspec.Struct, frozen=True):
    """Public halves of the logs' keys: DER SubjectPublicKeyInfo by log name."""

    spkis: dict[str, bytes]


class GetPublicKeys(Request[PublicKeys], tag="instance.public-keys", frozen=True):
    """Asks for the logs' public keys, which workers check and show but never sign with."""


class CheckpointMade(msgspec.Struct, frozen=True):
    """The database's checkpoint is in the data directory, where backups read it."""


class MakeCheckpoint(Request[CheckpointMade], tag="instance.checkpoint", frozen=True):
    """Asks for a checkpoint of the database. Whoever asks holds the folder of checkpoints."""


class Published(msgspec.Struct, frozen=True):
    """What clients see now: versions of the TUF root and timestamp."""

    root_version: int
    timestamp_version: int


class PublishTrust(Request[Published], tag="instance.publish-trust", frozen=True):
    """Asks to publish the trust root as instance.json and the distrust list say now."""


class PublishSigned(Request[Published], tag="instance.publish-signed", frozen=True):
    """Asks to publish what the holders of offline keys signed.

    Attributes:
        root: the next TUF root; empty if it stays.
        targets: the next TUF targets; empty if they stay.
        files: content of the targets, by name.
    """

    root: bytes
    targets: bytes
    files: dict[str, bytes]


class Restarting(msgspec.Struct, frozen=True):
    """The keeper ends now; its number."""

    pid: int


class RestartKeeper(Request[Restarting], tag="instance.restart-keeper", frozen=True):
    """Asks the keeper to make room for another one, which reads instance.json anew."""


class Logged(msgspec.Struct, frozen=True):
    """Where a statement of the instance's own is in the log; `bundle` proves it, as JSON."""

    log_index: int
    bundle: bytes


class LogStatement(Request[Logged], tag="instance.log-statement", frozen=True):
    """Asks to sign and log a file of the instance's own.

    Attributes:
        data: the file.
        key: name of the online key that signs it; made if it is not there.
    """

    data: bytes
    key: str
