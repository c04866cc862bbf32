# SPDX-License-Identifier: Apache-2.0
"""What is wrong with another client's set-up for an instance. Reads only.

Its files are compared with what was verified: a client that starts from a root of somebody else's
believes somebody else, however well it verifies what follows.
"""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime

from countermark.client.trust.doctor import Finding, examine_modes, find_program
from countermark.client.trust.installed import load_installed
from countermark.client.trust.peers import (
    Surroundings,
    check_url,
    cosign_folder,
    cosign_name,
    git_config_path,
    js_folder,
    python_folders,
)
from countermark.client.trust.sources import Source
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.encoding import from_rfc3339
from countermark.core.errors import CountermarkError

_MAX_BYTES = 4 * 1024 * 1024
_OK, _WARNING, _ERROR = "ok", "warning", "error"
# What moves cosign and its like away from what was set up, or past TUF altogether.
_OVERRIDES = {
    "cosign": (
        *("TUF_MIRROR", "TUF_ROOT_JSON", "SIGSTORE_ROOT_FILE", "SIGSTORE_REKOR_PUBLIC_KEY"),
        *("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "SIGSTORE_TSA_CERTIFICATE_FILE"),
    ),
    "gitsign": ("GITSIGN_FULCIO_URL", "GITSIGN_REKOR_URL", "GITSIGN_OIDC_ISSUER"),
}


def examine_client(
    client: str, source: Source, roots: Sequence[bytes], at: Surroundings, now: datetime
) -> Iterator[Finding]:
    """A client's set-up for an instance.

    Args:
        client: its name.
        source: the instance.
        roots: every root of its repository that was verified, the pinned one first.
        at: whose files are looked at.
        now: aware.
    """
    again = f"countermark trust install --for {client} --url {source.name}"
    if client == "npm":
        yield Finding(_OK, "npm", "believes the public instance alone, and cannot be told else")
        return
    if client == "policy-controller":
        yield Finding(_OK, client, "is set up in its cluster, which is not looked at from here")
        return
    if client != "go" and find_program(client) is None:
        todo = "install it; a library needs no program" if client in ("python", "js") else ""
        yield Finding(_WARNING, client, "its program is not on the PATH", todo)
    for name in _OVERRIDES.get(client, ()):
        if at.environ.get(name):
            what = f"{name} is set in the environment, and goes before what was set up"
            yield Finding(_WARNING, client, what, f"unset {name}")
    for entry in load_installed():
        if (entry.client, entry.url) == (client, source.name):
            missing = [item.path for item in entry.done if not os.path.lexists(item.path)]
            for path in missing:
                todo = f"countermark trust uninstall --for {client}, then {again}"
                yield Finding(_ERROR, path, "was installed and is gone", todo)
    if client == "go":
        return
    if client == "gitsign":
        yield from _examine_gitsign(source, at, again)
        return
    try:
        check_url(source.tuf_url)
    except CountermarkError as error:
        yield Finding(_ERROR, source.name, str(error))
        return
    if client == "cosign":
        yield from _examine_cosign_mirror(source, at, again)
    yield from _examine_cache(client, source, roots, at, now, again)


def _examine_cosign_mirror(source: Source, at: Surroundings, again: str) -> Iterator[Finding]:
    path = os.path.join(cosign_folder(at), "remote.json")
    try:
        mirror = json.loads(_read(path) or b"{}").get("mirror", "")
    except (ValueError, AttributeError, RecursionError):
        yield Finding(_ERROR, path, "is damaged", f"remove it, then {again}")
        return
    if not mirror:
        yield Finding(_ERROR, path, "is not there: cosign uses the public instance", again)
    elif mirror != source.tuf_url:
        what = f"names another mirror: {str(mirror)[:200]}"
        yield Finding(_ERROR, path, what, f"{again} --replace")


def _examine_cache(
    client: str,
    source: Source,
    roots: Sequence[bytes],
    at: Surroundings,
    now: datetime,
    again: str,
) -> Iterator[Finding]:
    url = source.tuf_url
    if client == "cosign":
        metadata = os.path.join(cosign_folder(at), cosign_name(url))
        targets = os.path.join(metadata, "targets")
    elif client == "python":
        metadata, targets = python_folders(url, at)
    else:
        metadata = js_folder(url, at)
        targets = os.path.join(metadata, "targets")
    if not os.path.isdir(metadata):
        yield Finding(_ERROR, metadata, f"is not there: {client} does not know the instance", again)
        return
    for folder in (metadata, targets):
        if os.path.isdir(folder):
            yield from examine_modes(folder)
    afresh = f"remove {metadata}, then {again}"
    root = _read(os.path.join(metadata, "root.json"))
    if root is None:
        yield Finding(_ERROR, metadata, "has no root.json to start from", again)
    elif root in roots:
        if root != roots[-1]:
            what = "starts from an old root, and goes on from there by itself"
            yield Finding(_WARNING, metadata, what, "let it refresh, or install it anew")
        else:
            yield Finding(_OK, metadata, f"{client} starts from the root that was verified")
    else:
        what = "starts from a root that is none of this instance's as it was verified"
        todo = f"if {source.name} rotated keys: countermark trust fetch; else {afresh}"
        yield Finding(_ERROR, metadata, what, todo)
    yield from _examine_timestamp(metadata, now)
    cached = _read(os.path.join(targets, "trusted_root.json"))
    if cached is not None and cached != source.trusted_root_json:
        yield _other_root(cached, source, targets, afresh)


def _other_root(cached: bytes, source: Source, targets: str, afresh: str) -> Finding:
    """A client's copy of the trusted root that is not ours: damaged, older, or another's?"""
    path = os.path.join(targets, "trusted_root.json")
    try:
        theirs = {log.log_id for log in TrustedRoot.parse(cached).tlogs}
    except CountermarkError:
        return Finding(_ERROR, path, "is damaged", afresh)
    if theirs & {log.log_id for log in source.trusted_root.tlogs}:
        return Finding(
            _WARNING, path, "is another version than ours", "let both refresh while online"
        )
    return Finding(_ERROR, path, "has keys of another instance: it must not be believed", afresh)


def _examine_timestamp(metadata: str, now: datetime) -> Iterator[Finding]:
    data = _read(os.path.join(metadata, "timestamp.json"))
    if data is None:
        return
    try:
        expires = from_rfc3339(json.loads(data)["signed"]["expires"], "expires")
    except (ValueError, KeyError, TypeError, RecursionError, CountermarkError):
        yield Finding(_WARNING, metadata, "its timestamp cannot be read", "let it refresh")
        return
    if expires <= now:
        what = f"its metadata expired on {expires:%Y-%m-%d}: it cannot be used offline"
        yield Finding(_WARNING, metadata, what, "use the client once while online")


def _examine_gitsign(source: Source, at: Surroundings, again: str) -> Iterator[Finding]:
    path = git_config_path(at)
    text = (_read(path) or b"").decode("utf-8", "replace")
    if not source.signing_config_json:
        yield Finding(_ERROR, source.name, "does not say which services to sign with")
        return
    config = SigningConfig.parse(source.signing_config_json)
    for service, what in ((config.ca_urls, "CA"), (config.rekor_tlog_urls, "log")):
        if service and f'"{service[0].url}"' not in text:
            yield Finding(_ERROR, path, f"does not name the {what} of this instance", again)
            return
    yield Finding(_OK, path, "names the services of this instance")
    if "SIGSTORE_REKOR_PUBLIC_KEY" not in at.environ:
        what = "SIGSTORE_REKOR_PUBLIC_KEY is not set: gitsign verifies under the public keys"
        yield Finding(_WARNING, "gitsign", what, f"read the env file that `{again}` named")


def _read(path: str) -> bytes | None:
    """A file as it is; None if there is none, or it is too large to be one of these."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= _MAX_BYTES else None
