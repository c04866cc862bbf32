# SPDX-License-Identifier: Apache-2.0
"""How other clients are told about an instance: which files they read, where, and what in them.

Pure: from an instance and a person's surroundings to a plan of what to write. Layouts are those
of cosign 3 (`cosign initialize`), sigstore-python 4 (`trust-instance`), sigstore-js
(`@sigstore/tuf`) and gitsign's documented configuration. Only the root to start from is given to
clients that speak TUF: what they read is theirs to fetch and to verify.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from countermark.client.trust.exporting import exported
from countermark.client.trust.sources import Source
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.errors import RequestRejected, SettingsError

CLIENTS: Final = ("cosign", "python", "js", "npm", "go", "gitsign", "policy-controller")
# What TUF clients leave in a folder of their own, relative to it.
_CACHE: Final = (
    r"(?:\d{1,9}\.)?(?:root|timestamp|snapshot|targets)\.json",
    r"root_history/\d{1,9}\.root\.json",
    r"targets/(?:[0-9a-f]{64}\.)?(?:trusted_root|trust_config|signing_config[a-z0-9_.]*)\.json",
    r"(?:trusted_root|trust_config|signing_config[a-z0-9_.]*)\.json",
    r"(?:targets|root_history)",
)
_HOST = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9.-]{1,253}", re.ASCII)


class Surroundings(NamedTuple):
    """Where a person's files are.

    Attributes:
        home: absolute path of the home folder.
        environ: the environment, which moves some of them.
        own: our folder for files that clients are pointed to.
        platform: as `sys.platform`.
    """

    home: str
    environ: Mapping[str, str]
    own: str
    platform: str = sys.platform

    def data(self, name: str) -> str:
        """A program's folder for data."""
        if self.platform == "darwin":
            return os.path.join(self.home, "Library", "Application Support", name)
        base = self.environ.get("XDG_DATA_HOME") or os.path.join(self.home, ".local", "share")
        return os.path.join(base, name)

    def cache(self, name: str) -> str:
        """A program's folder for what can be had again."""
        if self.platform == "darwin":
            return os.path.join(self.home, "Library", "Caches", name)
        base = self.environ.get("XDG_CACHE_HOME") or os.path.join(self.home, ".cache")
        return os.path.join(base, name)


class File(NamedTuple):
    """A file to be there with this content, readable by its owner alone."""

    path: str
    data: bytes


class Link(NamedTuple):
    """A symbolic link to be there."""

    path: str
    to: str


class Block(NamedTuple):
    """Lines to be at the end of a file that belongs to the person."""

    path: str
    text: str


class Cache(NamedTuple):
    """A folder that a client fills by itself: it goes with what was installed.

    Attributes:
        folder: absolute path.
        names: patterns of what the client puts there, relative and whole.
    """

    folder: str
    names: tuple[str, ...] = _CACHE


class Plan(NamedTuple):
    """What setting a client up takes.

    Attributes:
        steps: in order; empty if there is nothing that could be written.
        caches: what will belong to it.
        how: what remains to be done by the person, line by line.
    """

    steps: tuple[File | Link | Block, ...] = ()
    caches: tuple[Cache, ...] = ()
    how: tuple[str, ...] = ()


class Anchor(NamedTuple):
    """What a TUF client starts from: the newest root that was verified, and its version."""

    version: int
    data: bytes


def plan_for(client: str, source: Source, anchor: Anchor | None, at: Surroundings) -> Plan:
    """What to write, and what to say, so that `client` uses an instance.

    Raises RequestRejected for a client nobody knows or an address that no client could use,
    SettingsError for what the instance lacks.
    """
    if client not in CLIENTS:
        raise RequestRejected(f"{client!r} is none of {', '.join(CLIENTS)}")
    if client == "npm":
        return Plan(how=_NPM)
    if client == "policy-controller":
        return Plan(how=_policy_controller(source))
    if client == "gitsign":
        return _gitsign(source, at)
    if anchor is None or not source.tuf_url:
        raise SettingsError(f"{source.name} has no TUF repository that {client} could follow")
    check_url(source.tuf_url)
    made = {"cosign": _cosign, "python": _python, "js": _js, "go": _go}[client]
    return made(source, anchor, at)


def check_url(url: str) -> None:
    """Raise RequestRejected unless `url` is plain enough to become a folder's name."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise RequestRejected(f"{url!r} is no address") from error
    plain = parts.scheme in ("https", "http") and _HOST.fullmatch(host)
    if not plain or "@" in parts.netloc or parts.query or parts.fragment or not url.isprintable():
        raise RequestRejected(f"{url!r} is no plain address of a TUF repository")


def cosign_folder(at: Surroundings) -> str:
    """Where cosign keeps what it knows through TUF."""
    return at.environ.get("TUF_ROOT") or os.path.join(at.home, ".sigstore", "root")


def cosign_name(url: str) -> str:
    """What cosign calls the folder of a mirror."""
    plain = url.removeprefix("https://").removeprefix("http://")
    return plain.replace("/", "-").replace(":", "-").lower()


def python_folders(url: str, at: Surroundings) -> tuple[str, str]:
    """sigstore-python's folders of metadata and of targets."""
    name = quote(url, safe="")
    both = at.data("sigstore-python"), at.cache("sigstore-python")
    return os.path.join(both[0], "tuf", name), os.path.join(both[1], "tuf", name)


def js_folder(url: str, at: Surroundings) -> str:
    """sigstore-js's folder of a mirror."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    default = {"https": 443, "http": 80}.get(parts.scheme)
    port = f":{parts.port}" if parts.port and parts.port != default else ""
    name = quote(f"{host}{port}{parts.path.rstrip('/')}", safe="!~*'()")
    return os.path.join(at.data("sigstore-js"), name)


def git_config_path(at: Surroundings) -> str:
    """The file that ``git config --global`` writes."""
    if at.environ.get("GIT_CONFIG_GLOBAL"):
        return at.environ["GIT_CONFIG_GLOBAL"]
    plain = os.path.join(at.home, ".gitconfig")
    base = at.environ.get("XDG_CONFIG_HOME") or os.path.join(at.home, ".config")
    other = os.path.join(base, "git", "config")
    return other if os.path.exists(other) and not os.path.exists(plain) else plain


def _cosign(source: Source, anchor: Anchor, at: Surroundings) -> Plan:
    folder = cosign_folder(at)
    name = cosign_name(source.tuf_url)
    mirror = os.path.join(folder, name)
    remote = f'{{"mirror":"{source.tuf_url}"}}'.encode("ascii")
    return Plan(
        (
            File(os.path.join(mirror, "root.json"), anchor.data),
            File(os.path.join(folder, "remote.json"), remote),
        ),
        (Cache(mirror), Cache(folder, (re.escape(f"{name}.json"),))),
        ("cosign sign-blob and verify-blob now use it without further options",),
    )


def _python(source: Source, anchor: Anchor, at: Surroundings) -> Plan:
    metadata, targets = python_folders(source.tuf_url, at)
    root = f"{anchor.version}.root.json"
    return Plan(
        (
            File(os.path.join(metadata, "root_history", root), anchor.data),
            Link(os.path.join(metadata, "root.json"), os.path.join("root_history", root)),
        ),
        (Cache(metadata), Cache(targets)),
        (f"sigstore --instance {source.tuf_url} sign|verify …",),
    )


def _js(source: Source, anchor: Anchor, at: Surroundings) -> Plan:
    folder = js_folder(source.tuf_url, at)
    return Plan(
        (File(os.path.join(folder, "root.json"), anchor.data),),
        (Cache(folder),),
        (
            "const { verify } = require('sigstore');",
            f"await verify(bundle, data, {{ tufMirrorURL: '{source.tuf_url}', … }});",
        ),
    )


def _go(source: Source, anchor: Anchor, at: Surroundings) -> Plan:
    folder = os.path.join(at.own, "go", cosign_name(source.tuf_url))
    files = {"root.json": anchor.data, **exported(source, "trusted-root")}
    root, trusted_root = (os.path.join(folder, name) for name in files)
    return Plan(
        tuple(File(os.path.join(folder, name), data) for name, data in files.items()),
        (),
        (
            "sigstore-go takes its trust root from the program that uses it:",
            f'  anchor, err := os.ReadFile("{root}")',
            "  options := tuf.DefaultOptions().WithRoot(anchor).",
            f'      WithRepositoryBaseURL("{source.tuf_url}")',
            "  trusted, err := root.NewLiveTrustedRoot(options)",
            f'or, without TUF: root.NewTrustedRootFromPath("{trusted_root}")',
        ),
    )


def _gitsign(source: Source, at: Surroundings) -> Plan:
    if not source.signing_config_json:
        raise SettingsError(f"{source.name} does not say which services to sign with")
    folder = os.path.join(at.own, "gitsign", cosign_name(source.name))
    files = {os.path.join(folder, name): data for name, data in exported(source, "pem").items()}
    named = {os.path.basename(path): path for path in files}
    environment = {
        "GITSIGN_FULCIO_ROOT": named.get("fulcio.pem"),
        "SIGSTORE_REKOR_PUBLIC_KEY": named.get("rekor.pem"),
        "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": named.get("ctlog.pem"),
    }
    lines = [f"export {name}='{path}'\n" for name, path in environment.items() if path]
    script = os.path.join(folder, "env")
    config = _git_config(SigningConfig.parse(source.signing_config_json), named.get("tsa.pem"))
    return Plan(
        (
            *(File(path, data) for path, data in files.items()),
            File(script, "".join(lines).encode("utf-8")),
            Block(git_config_path(at), config),
        ),
        (),
        (
            "gitsign takes the keys to verify with from the environment:",
            f"  . '{script}'",
            "and the trusted root as cosign does:",
            f"  countermark trust install --for cosign --url {source.name}",
            "and git is told to sign with it by:",
            "  git config --global gpg.x509.program gitsign",
            "  git config --global gpg.format x509",
        ),
    )


def _git_config(config: SigningConfig, tsa_chain: str | None) -> str:
    """The section that gitsign reads. Values are quoted as git-config has it.

    Offline mode puts the log entry into the signature; online mode needs a search that our log does
    not have. No timestamps: gitsign refuses its own if they are too near to the certificate.
    """
    values = {
        "fulcio": next((item.url for item in config.ca_urls), None),
        "rekor": next((item.url for item in config.rekor_tlog_urls), None),
        "issuer": next((item.url for item in config.oidc_urls), None),
        "rekorMode": "offline",
        "timestampCertChain": tsa_chain,
    }
    lines = ["[gitsign]"]
    for name, value in values.items():
        if value is None:
            continue
        if not value.isprintable():
            raise RequestRejected(f"{value!r} cannot be written into a git configuration")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'\t{name} = "{escaped}"')
    return "\n".join(lines) + "\n"


def _policy_controller(source: Source) -> tuple[str, ...]:
    text = exported(source, "policy-controller")["trustroot.yaml"].decode("utf-8")
    return tuple(text.splitlines())


_NPM = (
    "npm believes the public Sigstore instance alone: its address is part of npm, and there is no",
    "setting for another. So `npm audit signatures` and `npm publish --provenance` cannot be",
    "pointed to this instance; nothing was changed. What can be done:",
    "  sign a package's file:    npm pack && countermark sign NAME-VERSION.tgz",
    "  verify it:                countermark verify NAME-VERSION.tgz --identity … --issuer …",
    "  from a program:           the `sigstore` package; see `countermark trust install --for js`",
)
