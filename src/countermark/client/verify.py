# SPDX-License-Identifier: Apache-2.0
"""Verifying files: which root to believe, bundles beside files, hashing in bounded memory.

On the path of `countermark verify`: nothing slow to import, and no network, ever.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

import countermark
from countermark.client.instances import InstanceRecord, config_path, load_instances
from countermark.core.bundle.bundle import MAX_BUNDLE_BYTES, Bundle
from countermark.core.bundle.protojson import parse_message, required_object
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    NotFound,
    RequestRejected,
    SettingsError,
    SignatureInvalid,
)
from countermark.core.verify.artifact import Artifact, BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy
from countermark.core.verify.verifier import ONE_OF_EACH, Expected, Thresholds, verify

if TYPE_CHECKING:
    from countermark.client.batch import Item, Outcome
    from countermark.core.verify.witness import WitnessPolicy

PUBLIC, STAGING = "public", "staging"
_SHIPPED = {PUBLIC: "public_good_trusted_root.json", STAGING: "staging_trusted_root.json"}
_SUFFIXES = (".sigstore.json", ".sigstore", ".sigstore.jsonl")
_READ_BYTES = 1024 * 1024
_HASHES = ("sha256", "sha384", "sha512")
_MAX_CHOICES = 256
_NO_ENTRIES = b'\n  "entries": []\n'

Source: TypeAlias = "bytes | os.PathLike[str] | BinaryIO | Artifact"


class Root(NamedTuple):
    """A trusted root and what to call it.

    Attributes:
        name: ``public``, a URL, or the file it came from.
        trusted_root: whom to believe.
        own_url: set if nobody named this root: the instance of this machine that it is of. Its
            keys lie on this disk, and the bundle chose it. So it is believed about identities of
            its own login only, and about those of other issuers when it is named.
        distrust: distrust lists, as files: what they name is not believed.
    """

    name: str
    trusted_root: TrustedRoot
    own_url: str = ""
    distrust: tuple[bytes, ...] = ()

    def verify(
        self,
        bundle: Bundle,
        artifact: Artifact,
        policy: Expected,
        thresholds: Thresholds = ONE_OF_EACH,
        *,
        witnesses: "WitnessPolicy | None" = None,
    ) -> Evidence:
        """Verify under this root; see `core.verify.verifier.verify`."""

        def under(root: TrustedRoot) -> Evidence:
            return verify(
                bundle,
                artifact,
                root,
                policy,
                thresholds=thresholds,
                witnesses=witnesses,
                root_name=self.name,
            )

        evidence = under(self.trusted_root)
        if self.distrust:
            from countermark.client.distrust import heed  # few distrust anything

            evidence = heed(bundle, evidence, self.trusted_root, self.distrust, under)
        issuer = evidence.signer.issuer if evidence.signer is not None else ""
        if self.own_url and evidence.signer and not issuer.startswith(f"{self.own_url}/"):
            error = IdentityMismatch(
                f"unless it is named, {self.name} is believed about its own login only, "
                f"not {issuer!r}"
            )
            error.add_note(f"if it is to vouch for that issuer, add --instance {self.name}")
            raise error
        return evidence


class FileArtifact:
    """A file or an open binary file, hashed in pieces, once per hash algorithm.

    If a second algorithm is needed, the first is computed again: digests are always of the same
    bytes, even if the file changes meanwhile. What cannot be read twice is hashed with all at once.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            source: a path, or a file open for reading in binary.
            progress: told how many more bytes were hashed, from time to time.
        """
        self._source = source
        self.progress = progress
        self._digests: dict[str, bytes] = {}

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`.

        Raises NotFound if there is no such file, SignatureInvalid if it changed, OSError.
        """
        if hash_name not in self._digests:
            digests = self._open_and_hash((*self._digests, hash_name))
            if self._digests.items() - digests.items():
                raise SignatureInvalid("the artifact changed while it was read")
            self._digests = digests
        return self._digests[hash_name]

    def _open_and_hash(self, hash_names: tuple[str, ...]) -> dict[str, bytes]:
        if not isinstance(self._source, str | os.PathLike):
            if self._digests:
                self._source.seek(0)
            elif not self._source.seekable():
                hash_names = _HASHES
            return self._hash(self._source.read, hash_names)
        try:
            with open(self._source, "rb", buffering=0, opener=_open_to_read) as file:
                return self._hash(file.read, hash_names)
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {os.fspath(self._source)}") from error

    def _hash(self, read: Callable[[int], bytes], hash_names: tuple[str, ...]) -> dict[str, bytes]:
        states = {name: hashlib.new(name) for name in hash_names}
        while piece := read(_READ_BYTES):
            for state in states.values():
                state.update(piece)
            if self.progress is not None:
                self.progress(len(piece))
        return {name: state.digest() for name, state in states.items()}


class Verifier:
    """Checks who signed something, offline. Keeps nothing but its roots; threads may share it."""

    def __init__(self, root: TrustedRoot | Root | None = None) -> None:
        """Fix whom to believe.

        Args:
            root: the one root to believe; without it, each bundle's own log ids choose among
                the user's recorded instances (see `Root.own_url` for what these may vouch for),
                the root of the user's config.toml and the public-good instance.
        """
        self._root = Root("given", root) if isinstance(root, TrustedRoot) else root
        self._choose: Callable[[Bundle], Root] = choose_root

    def verify(
        self,
        source: Source,
        bundle: Bundle | bytes,
        policy: Expected,
        *,
        thresholds: Thresholds = ONE_OF_EACH,
        witnesses: "WitnessPolicy | None" = None,
    ) -> Evidence:
        """Check that `bundle` proves who signed `source`, and when.

        Args:
            source: bytes, a path object, an open binary file, or an artifact known by digest.
            bundle: parsed, or its JSON; cosign's first bundle format too.
            policy: whom to accept, e.g. ``Identity("me@example.com", "https://…")``; or a managed
                key, as `PublicKey` or, with the period in which it counts, as `ManagedKey`.
            thresholds: how many independent parties must agree.
            witnesses: who must have cosigned the log's checkpoint.

        Raises VerificationError (its subclass says which step failed), FormatError, NotFound.
        """
        if isinstance(bundle, bytes):
            bundle = _parse_bundle(bundle)
        root = self._root or self._choose(bundle)
        return root.verify(bundle, as_artifact(source), policy, thresholds, witnesses=witnesses)

    def verify_many(
        self,
        items: "Iterable[Item]",
        policy: Policy | PublicKey | None = None,
        *,
        thresholds: Thresholds = ONE_OF_EACH,
        workers: int = 1,
    ) -> "Iterator[Outcome]":
        """Verify many, in order; what goes wrong with one is a value and stops no other.

        Args:
            items: taken as outcomes are asked for.
            policy: for the items that bring none of their own.
            thresholds: as for `verify`.
            workers: how many processes to spread the work over; 1 is this one alone. Each is
                spawned, so a script must keep its work under ``if __name__ == "__main__":``.

        Raises RequestRejected for an impossible number of workers; see `batch.in_order` for what
        is raised while iterating. The roots to choose among are those of now.
        """
        from countermark.client.batch import VerifyItem, in_order, is_open_file

        verifier = Verifier(self._root)
        if self._root is None:
            verifier._choose = chooser = RootChooser()
            if workers > 1:
                chooser.read_all()
        task = VerifyItem(verifier, policy, thresholds)
        return in_order(task.run, items, workers, stays=is_open_file)


def _parse_bundle(data: bytes) -> Bundle:
    try:
        return Bundle.parse(data)
    except FormatError:
        from countermark.client.signatures import parse_signature  # an old one, then

        return parse_signature(data)


def as_artifact(source: Source) -> Artifact:
    """What a caller calls an artifact, as the verifier takes it."""
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
    return _choose_among(_wanted_logs(bundle), _candidates())


class Candidate(NamedTuple):
    """A root that may be chosen, unread; fields as of `Root`, and the note of a merged one."""

    name: str
    data: bytes
    own_url: str = ""
    distrust: tuple[bytes, ...] = ()
    note: bytes = b""


class RootChooser:
    """Chooses as `choose_root` does, for many bundles: no root is read twice."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._read: list[Candidate] = []
        self._rest: Iterator[Candidate] = _candidates()
        self._fault: CountermarkError | OSError | None = None
        self._chosen: dict[frozenset[bytes], Root] = {}

    def __call__(self, bundle: Bundle) -> Root:
        """See `choose_root`."""
        wanted = _wanted_logs(bundle)
        if wanted not in self._chosen:
            chosen = _choose_among(wanted, self._candidates())
            if len(self._chosen) >= _MAX_CHOICES:
                self._chosen.clear()
            self._chosen[wanted] = chosen
        return self._chosen[wanted]

    def read_all(self) -> None:
        """Read every root now, so that other processes can be given them."""
        for _ in self._candidates():
            pass
        self._rest = iter(())

    def _candidates(self) -> Iterator[Candidate]:
        yield from self._read
        try:
            for candidate in self._rest:
                self._read.append(candidate)
                yield candidate
        except (CountermarkError, OSError) as error:
            self._fault = error
        if self._fault is not None:  # what could not be read cannot be passed over
            raise self._fault


def _wanted_logs(bundle: Bundle) -> frozenset[bytes]:
    wanted = frozenset(entry.log_id for entry in bundle.tlog_entries)
    if not wanted:
        raise InclusionInvalid("the bundle has no log entry")
    return wanted


def _choose_among(wanted: frozenset[bytes], candidates: Iterator[Candidate]) -> Root:
    texts = [to_base64(log_id).encode("ascii") for log_id in wanted]
    for name, data, own_url, distrust, note in candidates:
        # Looking for the text is a quick no; the parsed root decides.
        if all(text in data for text in texts):
            root = parse_root(data)
            if wanted <= {log.log_id for log in root.tlogs}:
                if note:
                    from countermark.client.trust.merged import MergedRoot

                    return MergedRoot.of(name, data, note)
                return Root(name, root, own_url, distrust)
    error = InclusionInvalid("no trusted root knows the log that the bundle names")
    error.add_note("name the root to believe with --trusted-root FILE or --instance NAME")
    raise error


def _candidates() -> Iterator[Candidate]:
    for record in load_instances():
        own_url = record.url if record.data_dir else ""  # one that runs elsewhere was pinned
        yield Candidate(record.url, record.trusted_root_json, own_url, _distrusted_by(record))
    if os.path.exists(config_path()):
        from countermark.client.choice import user_config  # few have one

        config = user_config()
        for path in (config.get("trusted_root"), config.get("trust_config")):
            if path:
                data = read_file(path, MAX_TRUSTED_ROOT_BYTES)
                yield Candidate(path, data, note=_note_beside(path))
    yield Candidate(PUBLIC, shipped_root_json(PUBLIC))


def _distrusted_by(record: InstanceRecord) -> tuple[bytes, ...]:
    """The distrust lists of a recorded instance that have entries."""
    recorded = record.target("distrust.json")
    if recorded is None and not record.data_dir:
        return ()
    found = () if recorded is None else (recorded,)
    if record.data_dir:
        try:
            path = os.path.join(record.data_dir, "trust", "distrust.json")
            found = (*found, read_file(path, MAX_TRUSTED_ROOT_BYTES))
        except (NotFound, OSError):
            pass  # moved away, or somebody else's: what was recorded holds
    return tuple(data for data in dict.fromkeys(found) if _NO_ENTRIES not in data)


def named_root(name: str) -> Root:
    """The root of ``public``, ``staging`` or a recorded instance's URL. Raises SettingsError."""
    url = name.rstrip("/")
    for record in load_instances():  # first: a fetched root is newer than the shipped one
        if record.url == url:
            root = TrustedRoot.parse(record.trusted_root_json)
            return Root(url, root, distrust=_distrusted_by(record))
    if name in _SHIPPED:
        return Root(name, TrustedRoot.parse(shipped_root_json(name)))
    raise SettingsError(f"{url} is not an instance that you trust yet")


def root_from_file(path: str) -> Root:
    """The root in a TrustedRoot or ClientTrustConfig file, or one of `countermark trust merge`."""
    return root_of(path, read_file(path, MAX_TRUSTED_ROOT_BYTES))


def root_of(path: str, data: bytes) -> Root:
    """The root in `data`, which was read from `path`; see `root_from_file`."""
    note = _note_beside(path)
    if note:
        from countermark.client.trust.merged import MergedRoot

        return MergedRoot.of(path, data, note)
    return Root(path, parse_root(data))


def _note_beside(path: str) -> bytes:
    """What tells the parts of a merged root; empty if it is none."""
    if not os.path.exists(f"{path}.sources.json"):
        return b""
    from countermark.client.trust.merged import MAX_NOTE_BYTES, SUFFIX

    return read_file(path + SUFFIX, MAX_NOTE_BYTES)


@lru_cache(maxsize=8)
def parse_root(data: bytes) -> TrustedRoot:
    """The root in a TrustedRoot or ClientTrustConfig document. Raises FormatError."""
    tree = parse_message(data, "trusted root", limit=MAX_TRUSTED_ROOT_BYTES)
    if tree.get("trustedRoot") is not None:
        tree = required_object(tree, "trustedRoot")
    return TrustedRoot.from_json(tree)


def shipped_root_json(name: str) -> bytes:
    """The trusted root of a public instance, as shipped with this program."""
    folder = os.path.join(os.path.dirname(countermark.__file__), "trust_data")
    with open(os.path.join(folder, _SHIPPED[name]), "rb") as file:
        return file.read()


def bundle_path(artifact: str) -> str:
    """Where the bundle of a file is: beside it, ``.sigstore.json``, ``.sigstore`` or ``.jsonl``.

    Raises NotFound if there is none, RequestRejected if there are several.
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


def _open_to_read(path: str, flags: int) -> int:
    """Open, but no named pipe: a folder of a stranger's could hold one that never ends."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and not path.startswith(("/dev/", "/proc/")):
        os.close(descriptor)
        raise RequestRejected(f"{path} is a named pipe, and may never end")
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(descriptor, True)
    return descriptor


def read_file(path: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes. Raises NotFound, FormatError, OSError."""
    try:
        with open(path, "rb", opener=_open_to_read) as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    if len(data) > limit:
        raise FormatError(path, f"is larger than {limit} bytes")
    return data
