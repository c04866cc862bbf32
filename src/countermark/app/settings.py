# SPDX-License-Identifier: Apache-2.0
"""Settings of a running instance: one TOML file, and options of the command line above it.

    data = "/var/lib/countermark"
    port = 7446
    [[issuers]]
    url = "https://token.actions.githubusercontent.com"
    type = "github-workflow"

Unknown keys are refused, and all faults are told at once. What an instance *is* (its URLs, its
logs) is not a setting: that is fixed when it is created.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from countermark import observe
from countermark.app.launch import Issuer
from countermark.core.errors import SettingsError
from countermark.core.hosts import is_loopback

DEFAULT_PORT: Final = 7446
_ISSUER_TYPES: Final = ("email", "github-workflow")
_MAX_WORKERS: Final = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run an instance.

    Attributes:
        data: the data directory; empty for the user's own.
        host: address to listen at. Beyond loopback it needs TLS or `behind_proxy`.
        port: 0 for the one in the instance's base URL, 7446 for a new one.
        base_url: what clients of a new instance will use, for ever; empty for
            ``http://localhost:PORT``.
        workers: processes that speak HTTP; 0 for one per core.
        tls_cert: path of a PEM certificate chain.
        tls_key: path of its PEM key.
        behind_proxy: a proxy in front ends TLS and is the only one that can reach `host`.
            Conveniences for development are off then.
        keys_passphrase: path of the online keys' passphrase, or ``env:NAME``; empty to keep a
            made-up one beside the keys.
        offline_passphrase: the same for the root keys; used when they are created.
        key_store: URI of the PKCS#11 token in which a new instance has its signing keys; empty
            for files.
        log_format: ``text`` for people (stderr) or ``json`` for machines (stdout).
        access_log: write a line for each request.
        metrics_listen: ``HOST:PORT`` for metrics and health alone, plain HTTP. Without it, an
            instance for this machine serves metrics on its only port, any other not at all.
        issuers: identity providers beside the embedded login.
    """

    data: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    base_url: str = ""
    workers: int = 0
    tls_cert: str = ""
    tls_key: str = ""
    behind_proxy: bool = False
    keys_passphrase: str = ""
    offline_passphrase: str = ""
    key_store: str = ""
    log_format: str = observe.TEXT
    access_log: bool = False
    metrics_listen: str = ""
    issuers: tuple[Issuer, ...] = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def development(self) -> bool:
        """Whether conveniences for development are on: only this machine, and no proxy."""
        return self.loopback and not self.behind_proxy

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of `metrics_listen`. Raises ValueError for what is neither."""
        if not self.metrics_listen:
            return None
        parts = urlsplit(f"//{self.metrics_listen}")
        if parts.netloc != self.metrics_listen or not (parts.hostname and parts.port):
            raise ValueError(self.metrics_listen)
        return parts.hostname, parts.port

    @property
    def worker_count(self) -> int:
        """Processes to start for HTTP."""
        return self.workers or len(os.sched_getaffinity(0))


def load_settings(file: Path | None, options: Mapping[str, object]) -> Settings:
    """Settings of `file`, if given, with `options` above them.

    Args:
        file: a TOML file.
        options: by the names of `Settings`; None leaves the file's value.

    Raises SettingsError that lists every fault.
    """
    values: dict[str, Any] = {} if file is None else _read(file)
    values |= {name: value for name, value in options.items() if value is not None}
    faults: list[str] = []
    checked = _checked(values, faults)
    settings = Settings(**checked)
    _check_rules(settings, faults)
    if faults:
        raise SettingsError("; ".join(faults))
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # giant numbers and depth too
        raise SettingsError(f"{file} is not TOML: {error}") from error


def _checked(values: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """The values whose names and types are right."""
    defaults = {field.name: field.default for field in fields(Settings)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            faults.append(f"there is no setting {name!r}")
        elif name == "issuers":
            checked[name] = _issuers(value, faults)
        elif type(value) is not type(defaults[name]):
            kind = {str: "a text", int: "a whole number", bool: "true or false"}
            faults.append(f"{name} must be {kind[type(defaults[name])]}")
        else:
            checked[name] = value
    return checked


def _issuers(value: object, faults: list[str]) -> tuple[Issuer, ...]:
    if not isinstance(value, (list, tuple)):
        faults.append("issuers must be [[issuers]] tables")
        return ()
    issuers: list[Issuer] = []
    for number, item in enumerate(value, 1):
        if isinstance(item, Issuer):
            issuers.append(item)
            continue
        table: dict[str, Any] = item if isinstance(item, dict) else {}
        before = len(faults)
        for name, text in table.items():
            if name not in Issuer._fields:
                faults.append(f"issuer {number}: there is no setting {name!r}")
            elif not isinstance(text, str):
                faults.append(f"issuer {number}: {name} must be a text")
        faults += [
            f"issuer {number} has no {name}" for name in ("url", "type") if not table.get(name)
        ]
        if len(faults) == before:
            issuers.append(Issuer(**table))
    return tuple(issuers)


def _check_rules(settings: Settings, faults: list[str]) -> None:
    if not 0 <= settings.port < 65536:
        faults.append(f"port {settings.port} is not between 1 and 65535")
    if not 0 <= settings.workers <= _MAX_WORKERS:
        faults.append(f"workers must be between 0 (one per core) and {_MAX_WORKERS}")
    if settings.log_format not in observe.FORMATS:
        faults.append(f"log_format must be one of {', '.join(observe.FORMATS)}")
    try:
        _ = settings.metrics_address
    except ValueError:
        faults.append("metrics_listen must be HOST:PORT, e.g. 127.0.0.1:9464")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        faults.append("tls_cert and tls_key go together")
    faults.extend(
        f"{path} cannot be read"
        for path in (settings.tls_cert, settings.tls_key)
        if path and not os.access(path, os.R_OK)
    )
    if not (settings.loopback or settings.tls_cert or settings.behind_proxy):
        faults.append(
            f"other machines can reach {settings.host}: give a certificate (--tls-cert, "
            "--tls-key), or say --behind-proxy if one in front ends TLS"
        )
    _check_issuers(settings.issuers, faults)


def _check_issuers(issuers: tuple[Issuer, ...], faults: list[str]) -> None:
    seen: set[str] = set()
    for issuer in issuers:
        if issuer.type not in _ISSUER_TYPES:
            faults.append(f"issuer {issuer.url}: type must be one of {', '.join(_ISSUER_TYPES)}")
        if issuer.url in seen:
            faults.append(f"issuer {issuer.url} is listed twice")
        seen.add(issuer.url)
        if not _is_issuer_url(issuer.url):
            faults.append(f"issuer {issuer.url}: the URL is neither https nor of this machine")


def _is_issuer_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )
