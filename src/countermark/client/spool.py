# SPDX-License-Identifier: Apache-2.0
"""Signatures that wait for a log: made and timestamped, to be logged and verified later.

One 0600 file each in the user's folder, named after the signature it holds, so that the same one
never waits twice. Nothing in it is secret: the key is gone already. A file is taken away only
after its bundle is written, and the log knows what it has, so a crash at any point costs nothing
but doing a step again. Several processes may flush at once.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from countermark.client.choice import Instance, InstanceChoice, choose_instance
from countermark.client.finish import Prepared, Signed, check_whole, enter
from countermark.client.instances import (
    home_dir,
    read_private_file,
    sync_folder,
    write_private_file,
)
from countermark.client.transport import Transport
from countermark.core.bundle import protojson
from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.signing_config import parse_trust_config, trust_config_to_json
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_rfc3339, to_base64, to_rfc3339
from countermark.core.errors import (
    Conflict,
    CountermarkError,
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
    TimeUnproven,
)
from countermark.core.intoto.statement import parse_statement
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.artifact import Artifact, DigestArtifact
from countermark.core.verify.policy import UnsafeAnyIdentity

_VERSION = 1
_MAX_BYTES = 32 * 1024 * 1024
_MAX_WAITING = 100_000
_WHAT = "spooled signature"


class Waiting(NamedTuple):
    """One signature that waits.

    Attributes:
        number: its name in the spool: 32 hex digits of the signature's SHA-256.
        file: what was signed, as the user called it.
        target: absolute path of the bundle to write.
        overwrite: whether a bundle that is there may be replaced.
        since: when it was put here.
        instance_name: how the user calls the instance.
        trust_config: the instance as it was then: JSON of a ClientTrustConfig.
        bundle: all but its log entries.
        public_key_pem: of a managed key; empty where the bundle has a certificate.
    """

    number: str
    file: str
    target: str
    overwrite: bool
    since: datetime
    instance_name: str
    trust_config: dict[str, Any]
    bundle: Bundle
    public_key_pem: str


class Spool:
    """The user's spool."""

    def __init__(self, folder: str = "") -> None:
        """Nothing is read yet.

        Args:
            folder: where it is; by default the folder ``spool`` of the user's registry.
        """
        self.folder = folder or os.path.join(home_dir(), "spool")

    def put(
        self, instance: Instance, prepared: Prepared, *, file: str, target: str, overwrite: bool
    ) -> Waiting:
        """Keep a signature until it can be logged; durable on return.

        Raises TimeUnproven if no trusted authority says when it was made, or not within the
        certificate's minutes: then no later log entry could make it verify.
        """
        check_times(instance, prepared)
        bundle = prepared.bundle
        key = prepared.policy.to_pem() if isinstance(prepared.policy, PublicKey) else ""
        waiting = Waiting(
            number=hashlib.sha256(bundle.signature).hexdigest()[:32],
            file=file,
            target=os.path.abspath(target),
            overwrite=overwrite,
            since=datetime.now(tz=UTC).replace(microsecond=0),
            instance_name=instance.name,
            trust_config=trust_config_to_json(instance.trusted_root, instance.signing_config),
            bundle=bundle,
            public_key_pem=key,
        )
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.folder} cannot be used: {error.strerror}") from error
        write_private_file(self._path(waiting.number), serialize(waiting))
        sync_folder(self.folder)
        return waiting

    def numbers(self) -> list[str]:
        """What waits, by name, the oldest first."""
        try:
            with os.scandir(self.folder) as entries:
                found = [
                    (entry.stat().st_mtime_ns, entry.name.removesuffix(".json"))
                    for entry in entries
                    if entry.name.endswith(".json")
                ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SettingsError(f"{self.folder} cannot be read: {error.strerror}") from error
        return [number for _, number in sorted(found)[:_MAX_WAITING] if _is_number(number)]

    def get(self, number: str) -> Waiting:
        """Raises NotFound, FormatError for a damaged file, SettingsError if others may write it."""
        data = read_private_file(self._path(number))
        if data is None:
            raise NotFound(f"nothing waits under the number {number}")
        waiting = parse(data)
        if waiting.number != number:
            raise FormatError(_WHAT, f"{number} holds another signature")
        return waiting

    def drop(self, number: str) -> None:
        """Forget one; it will never be logged by us. Raises NotFound."""
        with self._held(number):
            self._remove(number)

    def flush(
        self, number: str, transport: Transport, *, choice: InstanceChoice | None = None
    ) -> Signed:
        """Log one, verify the whole, write its bundle, forget it.

        Args:
            number: which.
            transport: to reach the log.
            choice: the instance to use, if not the one it was signed with.

        Raises Unavailable if the log is still away, Conflict if another process is at it, a
        VerificationError or FormatError if the result does not verify (nothing is written then),
        RequestRejected if the bundle's place is taken, SettingsError if it can't be written.
        """
        with self._held(number):
            waiting = self.get(number)
            instance = instance_of(waiting, choice)
            prepared = prepared_of(waiting)
            check_times(instance, prepared)
            bundle = enter(instance, prepared, transport)
            signed = check_whole(instance, prepared, within_certificate(bundle))
            _place(waiting, signed.bundle)
            self._remove(number)
            return signed

    def _path(self, number: str) -> str:
        if not _is_number(number):
            raise RequestRejected(f"{number[:40]!r} is no number of a spooled signature")
        return os.path.join(self.folder, f"{number}.json")

    def _remove(self, number: str) -> None:
        try:
            os.unlink(self._path(number))
        except FileNotFoundError as error:
            raise NotFound(f"nothing waits under the number {number}") from error
        except OSError as error:
            raise SettingsError(f"{self._path(number)} stays: {error.strerror}") from error
        sync_folder(self.folder)

    @contextmanager
    def _held(self, number: str) -> Iterator[None]:
        """Against other processes of this user; two that race all the same do no harm."""
        path = self._path(number)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError as error:
            raise NotFound(f"nothing waits under the number {number}") from error
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
        try:
            if sys.platform != "win32":
                import fcntl

                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise Conflict(f"another process is at {number}") from error
            yield
        finally:
            os.close(descriptor)


def check_times(instance: Instance, prepared: Prepared) -> None:
    """Check that a signature which is logged late will verify: a trusted timestamp says when.

    Raises TimeUnproven, or what `verify_timestamp` raises.
    """
    bundle = prepared.bundle
    if not bundle.timestamps:
        error = TimeUnproven("without a timestamp, a signature cannot wait for the log")
        error.add_note("use an instance whose signing config names a timestamp authority")
        raise error
    for stamp in bundle.timestamps:
        time, _ = verify_timestamp(
            stamp, bundle.signature, instance.trusted_root.timestamp_authorities
        )
        for der in bundle.certificates:
            leaf = Certificate.parse(der)
            if not leaf.not_before <= time <= leaf.not_after:
                raise TimeUnproven("the signature was timestamped outside its certificate's time")


def within_certificate(bundle: Bundle) -> Bundle:
    """`bundle` without the log's word on the time where that is past the certificate's.

    A late log entry proves that the signature is on public record; when it was made, the
    timestamps say. Its own time would make every verifier refuse the certificate.
    """
    if not bundle.certificates:
        return bundle
    leaf = Certificate.parse(bundle.certificates[0])
    end_s = leaf.not_after.timestamp()
    entries = tuple(
        entry
        if entry.integrated_time <= end_s
        else entry._replace(inclusion_promise=b"", integrated_time=0)
        for entry in bundle.tlog_entries
    )
    return bundle._replace(tlog_entries=entries)


def instance_of(waiting: Waiting, choice: InstanceChoice | None) -> Instance:
    """The instance to log at: the one named now, else what its name means now, else as it was."""
    if choice:
        return choose_instance(choice)
    try:
        return choose_instance(InstanceChoice(instance=waiting.instance_name), environ={})
    except SettingsError:  # it was named by files
        data = json.dumps(waiting.trust_config).encode("utf-8")
        root, signing_config = parse_trust_config(data)
        return Instance(waiting.instance_name, "", root, signing_config)


def prepared_of(waiting: Waiting) -> Prepared:
    """The signature as it was when it came into the spool."""
    bundle = waiting.bundle
    if bundle.certificates:
        leaf = Certificate.parse(bundle.certificates[0])
        return Prepared(bundle, leaf.to_pem(), _artifact(bundle), UnsafeAnyIdentity())
    key = PublicKey.from_pem(waiting.public_key_pem)
    return Prepared(bundle, key.to_pem(), _artifact(bundle), key)


def serialize(waiting: Waiting) -> bytes:
    """As a file; inverse of `parse`."""
    document = {
        "version": _VERSION,
        "number": waiting.number,
        "file": to_base64(os.fsencode(waiting.file)),  # names are bytes, of any encoding
        "target": to_base64(os.fsencode(waiting.target)),
        "overwrite": "yes" if waiting.overwrite else "no",
        "since": to_rfc3339(waiting.since),
        "instance": waiting.instance_name,
        "trustConfig": waiting.trust_config,
        "bundle": waiting.bundle.serialize().decode("utf-8"),
        "publicKey": waiting.public_key_pem,
    }
    return json.dumps(document).encode("ascii")


def parse(data: bytes) -> Waiting:
    """Read a file of the spool. Raises FormatError."""
    tree = protojson.parse_object(data, _WHAT, limit=_MAX_BYTES)
    if protojson.int64(tree, "version") != _VERSION:
        raise FormatError(_WHAT, "is of a version that this program does not know")
    target = os.fsdecode(protojson.required_bytes(tree, "target"))
    if not os.path.isabs(target) or "\0" in target:
        raise FormatError(_WHAT, "names no place for its bundle")
    bundle = Bundle.parse(protojson.required_text(tree, "bundle").encode("utf-8"))
    waiting = Waiting(
        number=protojson.required_text(tree, "number"),
        file=os.fsdecode(protojson.raw_bytes(tree, "file")),
        target=target,
        overwrite=protojson.text(tree, "overwrite") == "yes",
        since=from_rfc3339(protojson.required_text(tree, "since"), "since"),
        instance_name=protojson.required_text(tree, "instance"),
        trust_config=dict(protojson.required_object(tree, "trustConfig")),
        bundle=bundle,
        public_key_pem=protojson.text(tree, "publicKey"),
    )
    if waiting.number != hashlib.sha256(bundle.signature).hexdigest()[:32]:
        raise FormatError(_WHAT, "is not the signature that it is named after")
    return waiting


def _artifact(bundle: Bundle) -> Artifact:
    from countermark.client.sign import KnownDigests
    from countermark.core.bundle.bundle import HASH_ALGORITHMS

    content = bundle.content
    if isinstance(content, MessageSignature):
        hash_name = HASH_ALGORITHMS.get(content.hash_algorithm)
        if hash_name is None or not content.digest:
            raise FormatError(_WHAT, "does not say what was signed")
        return DigestArtifact(hash_name, content.digest)
    subjects = parse_statement(content.payload).subjects
    return KnownDigests(next((item.digests for item in subjects if item.digests), {}))


def _place(waiting: Waiting, bundle: Bundle) -> None:
    """Write the bundle where it was to go, unless another one is there."""
    from countermark.client.files import read_if_there, write_whole

    there = read_if_there(waiting.target, _MAX_BYTES)
    if there is not None and not waiting.overwrite and not _is_same(there, bundle):
        error = RequestRejected(f"{waiting.target} exists already, and is another signature's")
        error.add_note("move it away and flush again, or drop this one")
        raise error
    write_whole(waiting.target, bundle.serialize() + b"\n")


def _is_same(data: bytes, bundle: Bundle) -> bool:
    """Whether it is what an earlier flush wrote before it was stopped."""
    try:
        return Bundle.parse(data).signature == bundle.signature
    except CountermarkError:
        return False


def _is_number(text: str) -> bool:
    return len(text) == 32 and all(char in "0123456789abcdef" for char in text)
