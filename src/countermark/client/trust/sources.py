# SPDX-License-Identifier: Apache-2.0
"""Everything this user trusts, and where it came from: shipped, recorded, or in a file."""

import os
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from countermark.client.instances import InstanceRecord, load_instances
from countermark.client.trust.shipped import SHIPPED, shipped_root, shipped_trust
from countermark.client.verify import read_file
from countermark.core.bundle import protojson
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.errors import CountermarkError, NotFound, SettingsError

if TYPE_CHECKING:
    from countermark.client.trust.chain import Versions

_MAX_CONFIG_BYTES = 1024 * 1024


class Source(NamedTuple):
    """Somebody to trust, or whoever a file names.

    Attributes:
        name: ``public``, ``staging``, the URL of an instance, or the path of a file.
        origin: where the trust comes from, in words.
        trusted_root_json: the TrustedRoot document.
        signing_config_json: the SigningConfig v0.2; empty if none is known.
        tuf_root_json: what its TUF repository starts from; empty if none is known.
        tuf_url: its TUF repository; empty if none is known.
        versions: of the TUF metadata; None if it was never fetched.
        expires: when the first of that expires.
        recorded: in the user's registry.
        own: an instance of this machine, believed about identities of its own login only.
        fault: why what is kept of it is not believed; empty if it is.
    """

    name: str
    origin: str
    trusted_root_json: bytes
    signing_config_json: bytes = b""
    tuf_root_json: bytes = b""
    tuf_url: str = ""
    versions: "Versions | None" = None
    expires: datetime | None = None
    recorded: bool = False
    own: bool = False
    fault: str = ""

    @property
    def trusted_root(self) -> TrustedRoot:
        """The root, read. Raises FormatError."""
        return TrustedRoot.parse(self.trusted_root_json)


def all_sources() -> list[Source]:
    """All that `verify` chooses among, in its order, and the staging instance.

    Kept metadata is checked again; what does not hold says so in `fault`. Raises SettingsError
    or FormatError for a registry that cannot be believed.
    """
    sources = [_recorded(record) for record in load_instances()]
    names = {source.name for source in sources}
    return sources + [_shipped(name) for name in SHIPPED if name not in names]


def named_source(name: str) -> Source:
    """A recorded instance by URL, a shipped one by name, or a file.

    Raises VerificationError for kept metadata that does not hold, SettingsError, FormatError.
    """
    wanted = name.rstrip("/")
    for record in load_instances():
        if record.url == wanted:
            return _checked(record)
    if name in SHIPPED:
        return _shipped(name)
    if os.path.isfile(name):
        return file_source(name)
    error = SettingsError(f"{name} is neither an instance that you trust nor a file")
    error.add_note("`countermark trust show` lists what you trust; `trust fetch` adds to it")
    raise error


def file_source(path: str) -> Source:
    """A TrustedRoot or ClientTrustConfig file. Raises NotFound, FormatError, SettingsError."""
    try:
        data = read_file(path, MAX_TRUSTED_ROOT_BYTES + _MAX_CONFIG_BYTES)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    tree = protojson.parse_object(data, path, limit=len(data))
    if tree.get("trustedRoot") is None:
        TrustedRoot.from_json(tree)
        return Source(path, f"file {path}", data)
    root = TrustedRoot.from_json(protojson.required_object(tree, "trustedRoot"))
    config = SigningConfig.from_json(protojson.required_object(tree, "signingConfig"))
    return Source(path, f"file {path}", root.serialize(), config.serialize())


def _recorded(record: InstanceRecord) -> Source:
    try:
        return _checked(record)
    except CountermarkError as error:
        source = _plain(record)
        return source._replace(fault=str(error))


def _checked(record: InstanceRecord) -> Source:
    """A record whose kept metadata was checked again; an own instance may do without."""
    if record.tuf is None:
        return _plain(record)
    from countermark.client.trust.following import use_kept

    try:
        followed = use_kept(record)
    except NotFound:
        if record.data_dir:
            return _plain(record)
        raise
    # What an instance of this machine wrote itself is as good, and may be newer.
    found = record if record.data_dir else followed.record
    checked = followed.checked
    return _plain(found)._replace(versions=checked.versions, expires=checked.expires)


def _plain(record: InstanceRecord) -> Source:
    if record.data_dir:
        origin = f"instance of this machine, in {record.data_dir}"
    elif record.tuf is not None:
        origin = f"TUF repository {record.tuf.url}"
    else:
        origin = "the registry of instances"
    return Source(
        record.url,
        origin,
        record.trusted_root_json,
        record.signing_config_json,
        record.tuf_root_json,
        record.tuf.url if record.tuf is not None else f"{record.url}/tuf",
        recorded=True,
        own=bool(record.data_dir),
    )


def _shipped(name: str) -> Source:
    root, config = shipped_trust(name)
    tuf_url = SHIPPED[name].tuf_url
    return Source(name, "shipped with this program", root, config, shipped_root(name), tuf_url)
