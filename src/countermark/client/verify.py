# SPDX-License-Identifier: Apache-2.0
"""Verifying files: which root to believe, bundles beside files, hashing in bounded memory.

On the path of `countermark verify`: nothing slow to import, and no network, ever.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

import countermark
from countermark.client.instances import config_path, load_instances
from countermark.core.bundle.bundle import MAX_BUNDLE_BYTES, Bundle
from countermark.core.bundle.protojson import parse_object, required_object
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import (
    FormatError,
    InclusionInvalid,
    NotFound,
    RequestRejected,
    SettingsError,
)
from countermark.core.verify.artifact import Artifact, BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy
from countermark.core.verify.verifier import ONE_OF_EACH, Thresholds, verify

PUBLIC, STAGING = "public", "staging"
_SHIPPED = {PUBLIC: "public_good_trusted_root.json", STAGING: "staging_trusted_root.json"}
_SUFFIXES = (".sigstore.json", ".sigstore")
_READ_BYTES = 1024 * 1024

Source: TypeAlias = "bytes | os.PathLike[str] | BinaryIO | Artifact"


class Root(NamedTuple):
    """A trusted root and what to call it: ``public``, a URL, or the file it came from."""

    name: str
    trusted_root: TrustedRoot


class FileArtifact:
    """A file or an open binary file, hashed in pieces, once per hash algorithm."""

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            source: a path, or a file open for reading in binary, which must be seekable if more
                than one hash is needed.
            progress: told how many more bytes were hashed, from time to time.
        """
        self._source = source
        self.progress = progress
        self._digests: dict[str, bytes] = {}

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`. Raises NotFound if there is no such file, OSError."""
        if hash_name not in self._digests:
            self._digests[hash_name] = self._open_and_hash(hash_name)
        return self._digests[hash_name]

    def _open_and_hash(self, hash_name: str) -> bytes:
        if not isinstance(self._source, str | os.PathLike):
            if self._digests:
                self._source.seek(0)
            return self._hash(self._source.read, hash_name)
        try:
            with open(self._source, "rb", buffering=0) as file:
                return self._hash(file.read, hash_name)
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {os.fspath(self._source)}") from error

    def _hash(self, read: Callable[[int], bytes], hash_name: str) -> bytes:
        state = hashlib.new(hash_name)
        while piece := read(_READ_BYTES):
            state.update(piece)
            if self.progress is not None:
                self.progress(len(piece))
        return state.digest()


class Verifier:
    """Checks who signed something, offline. Keeps nothing but its roots; threads may share it."""

    def __init__(self, root: TrustedRoot | Root | None = None) -> None:
        """Fix whom to believe.

        Args:
            root: the one root to believe; without it, each bundle's own log ids choose among
                the user's recorded instances and the public-good instance.
        """
        self._root = Root("given", root) if isinstance(root, TrustedRoot) else root

    def verify(
        self,
        source: Source,
        bundle: Bundle | bytes,
        policy: Policy | PublicKey,
        *,
        thresholds: Thresholds = ONE_OF_EACH,
    ) -> Evidence:
        """Check that `bundle` proves who signed `source`, and when.

        Args:
            source: bytes, a path object, an open binary file, or an artifact known by digest.
            bundle: parsed, or its JSON.
            policy: whom to accept, e.g. ``Identity("me@example.com", "https://…")``; or the
                public key of a managed key.
            thresholds: how many independent parties must agree.

        Raises VerificationError (its subclass says which step failed), FormatError, NotFound.
        """
        if isinstance(bundle, bytes):
            bundle = Bundle.parse(bundle)
        root = self._root or choose_root(bundle)
        return verify(
            bundle,
            _artifact(source),
            root.trusted_root,
            policy,
            thresholds=thresholds,
            root_name=root.name,
        )


def _artifact(source: Source) -> Artifact:
    if isinstance(source, bytes):
        return BytesArtifact(source)
    if isinstance(source, os.PathLike):
        return FileArtifact(source)
    if hasattr(source, "digest"):
        return source
    return FileArtifact(source)


def choose_root(bundle: Bundle) -> Root:
    """The root that knows every log a bundle names.

    Looked for among the recorded instances, the one of the user's config.toml, and the public
    one. The staging instance is never chosen, only named: its keys are not kept as carefully.
    Raises InclusionInvalid, with a note that says what to do, if there is none.
    """
    wanted = {entry.log_id for entry in bundle.tlog_entries}
    if not wanted:
        raise InclusionInvalid("the bundle has no log entry")
    texts = [to_base64(log_id).encode("ascii") for log_id in wanted]
    for name, data in _candidates():
        # Looking for the text is a quick no; the parsed root decides.
        if all(text in data for text in texts):
            root = _parse_root(data)
            if wanted <= {log.log_id for log in root.tlogs}:
                return Root(name, root)
    error = InclusionInvalid("no trusted root knows the log that the bundle names")
    error.add_note("name the root to believe with --trusted-root FILE or --instance NAME")
    raise error


def _candidates() -> Iterator[tuple[str, bytes]]:
    for record in load_instances():
        yield record.url, record.trusted_root_json
    if os.path.exists(config_path()):
        from countermark.client.choice import user_config  # few have one

        config = user_config()
        for path in (config.get("trusted_root"), config.get("trust_config")):
            if path:
                yield path, read_file(path, MAX_TRUSTED_ROOT_BYTES)
    yield PUBLIC, shipped_root_json(PUBLIC)


def named_root(name: str) -> Root:
    """The root of ``public``, ``staging`` or a recorded instance's URL. Raises SettingsError."""
    if name in _SHIPPED:
        return Root(name, TrustedRoot.parse(shipped_root_json(name)))
    url = name.rstrip("/")
    for record in load_instances():
        if record.url == url:
            return Root(url, TrustedRoot.parse(record.trusted_root_json))
    raise SettingsError(f"{url} is not an instance that you trust yet")


def root_from_file(path: str) -> Root:
    """The root in a TrustedRoot or ClientTrustConfig file."""
    return Root(path, _parse_root(read_file(path, MAX_TRUSTED_ROOT_BYTES)))


def _parse_root(data: bytes) -> TrustedRoot:
    tree = parse_object(data, "trusted root", limit=MAX_TRUSTED_ROOT_BYTES)
    if tree.get("trustedRoot") is not None:
        tree = required_object(tree, "trustedRoot")
    return TrustedRoot.from_json(tree)


def shipped_root_json(name: str) -> bytes:
    """The trusted root of a public instance, as shipped with this program."""
    folder = os.path.join(os.path.dirname(countermark.__file__), "trust_data")
    with open(os.path.join(folder, _SHIPPED[name]), "rb") as file:
        return file.read()


def bundle_path(artifact: str) -> str:
    """Where the bundle of a file is: beside it, ``.sigstore.json`` or ``.sigstore``.

    Raises NotFound if there is none, RequestRejected if there are both.
    """
    found = [artifact + suffix for suffix in _SUFFIXES if os.path.exists(artifact + suffix)]
    if not found:
        raise NotFound(f"there is no signature for {artifact}: no {artifact}{_SUFFIXES[0]}")
    if len(found) > 1:
        raise RequestRejected(f"both {found[0]} and {found[1]} exist: name one with --bundle")
    return found[0]


def read_bundle(path: str) -> Bundle:
    """Read a bundle file. Raises NotFound, FormatError, OSError."""
    return Bundle.parse(read_file(path, MAX_BUNDLE_BYTES))


def read_file(path: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes. Raises NotFound, FormatError, OSError."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    if len(data) > limit:
        raise FormatError(path, f"is larger than {limit} bytes")
    return data
