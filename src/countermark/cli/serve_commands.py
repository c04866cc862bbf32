# SPDX-License-Identifier: Apache-2.0
"""`countermark up`, `init` and `status`: run an instance, make one, ask how one is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from countermark.app import bring_up
from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig
from countermark.app.settings import Settings, load_settings
from countermark.cli.exits import OK, SERVICE_UNAVAILABLE
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError

F = TypeVar("F", bound=Callable[..., Any])

_TEXT = {"default": None, "type": str}
_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--data", {**_TEXT, "metavar": "DIR", "help": "Where keys and logs are."}),
    ("--port", {"default": None, "type": int, "help": "7446 for a new instance."}),
    ("--host", {**_TEXT, "metavar": "ADDRESS", "help": "Where to listen; loopback by default."}),
    ("--base-url", {**_TEXT, "metavar": "URL", "help": "What clients use, for ever (new only)."}),
    ("--tls-cert", {**_TEXT, "metavar": "FILE", "help": "PEM certificate chain."}),
    ("--tls-key", {**_TEXT, "metavar": "FILE", "help": "Its PEM key."}),
    (
        "--behind-proxy",
        {"is_flag": True, "default": None, "help": "A proxy in front ends TLS."},
    ),
    (
        "--keys-passphrase",
        {**_TEXT, "metavar": "FILE", "help": "Online keys' passphrase (or env:NAME)."},
    ),
    (
        "--offline-passphrase",
        {**_TEXT, "metavar": "FILE", "help": "Root keys' passphrase (or env:NAME)."},
    ),
    (
        "--key-store",
        {**_TEXT, "metavar": "URI", "help": "PKCS#11 token for the signing keys (new only)."},
    ),
    ("--workers", {"default": None, "type": int, "help": "HTTP processes; one per core."}),
    (
        "--log-format",
        {**_TEXT, "metavar": "FORMAT", "help": "text (stderr) or json (stdout)."},
    ),
    ("--access-log", {"is_flag": True, "default": None, "help": "A line for each request."}),
    (
        "--metrics-listen",
        {**_TEXT, "metavar": "HOST:PORT", "help": "A private port for metrics and health."},
    ),
    ("--config", {"default": None, "type": click.Path(), "help": "Settings as TOML."}),
)
_FOR_INIT = frozenset(
    (
        *("--data", "--port", "--host", "--base-url", "--tls-cert", "--tls-key"),
        *("--behind-proxy", "--keys-passphrase", "--offline-passphrase", "--key-store"),
        "--config",
    )
)


def _settings_options(names: frozenset[str] | None = None) -> Callable[[F], F]:
    def add(command: F) -> F:
        for name, arguments in reversed(_OPTIONS):
            if names is None or name in names:
                command = click.option(name, **arguments)(command)
        return command

    return add


@click.command()
@_settings_options()
def up(config: str | None, **options: Any) -> int:  # noqa: ANN401 - as typed by each option
    """Bring up an instance and keep it; Ctrl-C stops it.

    The first run creates keys, logs and trust root; later runs use them again. `sign` and
    `verify` of this user then find the instance by themselves.
    """
    output = Output()
    try:
        settings = _load(config, options)
        data_dir = bring_up.data_dir_of(settings)
        with bring_up.locked(data_dir) as lock:
            listeners = bring_up.listen(settings, data_dir)
            metrics_listeners = bring_up.listen_for_metrics(settings)
            instance = bring_up.prepare(settings, data_dir, _say)
            bring_up.record(data_dir, instance)
            greeting = _greeting(instance, data_dir, settings, output)
            bring_up.start(settings, data_dir, lock, listeners, metrics_listeners, greeting)
    except CountermarkError as error:
        return output.fail(error)


@click.command()
@_settings_options(_FOR_INIT)
@json_option
def init(config: str | None, as_json: bool, **options: Any) -> int:  # noqa: ANN401
    """Create an instance's keys, logs and trust root, and stop there."""
    output = Output(as_json=as_json)
    try:
        settings = _load(config, options)
        data_dir = bring_up.data_dir_of(settings)
        with bring_up.locked(data_dir):
            instance = bring_up.prepare(settings, data_dir, _say)
    except CountermarkError as error:
        return output.fail(error)
    output.line(f"{instance.base_url} is in {data_dir.path}")
    output.result({"url": instance.base_url, "data": str(data_dir.path)})
    return OK


@click.command()
@click.option("--data", metavar="DIR", default="", help="Where its keys and logs are.")
@json_option
def status(data: str, as_json: bool) -> int:
    """Show whether an instance runs, and how large its logs are."""
    from countermark.app.asking import ask_status

    output = Output(as_json=as_json)
    data_dir = bring_up.data_dir_of(Settings(data=data))
    try:
        report = ask_status(data_dir)
    except CountermarkError as error:
        return output.fail(error)
    state = output.good("up") if report.running else "not running"
    output.line(f"{report.url}  {state}  ({data_dir.path})")
    for log in report.logs:
        end = ", frozen" if log.frozen else ""
        output.line(
            f"  {log.name:<12} {log.tree_size:>12} entries, {log.published_size} published{end}"
        )
    output.result(
        {
            "url": report.url,
            "data": str(data_dir.path),
            "running": report.running,
            "pid": report.pid,
            "logs": [
                {
                    "name": log.name,
                    "origin": log.origin,
                    "treeSize": log.tree_size,
                    "rootHash": log.root_hash.hex(),
                    "publishedSize": log.published_size,
                    "frozen": log.frozen,
                }
                for log in report.logs
            ],
        }
    )
    return OK if report.running else SERVICE_UNAVAILABLE


def _load(config: str | None, options: dict[str, Any]) -> Settings:
    return load_settings(None if config is None else Path(config), options)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _greeting(
    instance: InstanceConfig, data_dir: DataDir, settings: Settings, output: Output
) -> str:
    if settings.log_format != "text":
        return ""
    url = instance.base_url
    lines = [
        f"{output.good('Countermark is up')} at {output.strong(url)} (Ctrl-C stops it)",
        f"  data        {data_dir.path}",
        f"  trust root  {url}/trust/trusted_root.json, {instance.tuf_url}",
        f"  CA          {url}/api/v2/signingCert",
        f"  log         {url}/api/v1/log",
        f"  CT log      {instance.open_log('ct').base_url}",
        f"  timestamps  {instance.tsa_url}",
    ]
    if settings.development and instance.embedded_issuer:
        lines += [
            f"  login       {instance.issuer_url} (believes every address; this machine only)",
            "Try next, in another terminal:",
            "  countermark sign --email you@example.org FILE",
            f"  countermark verify FILE --identity you@example.org --issuer {instance.issuer_url}",
            "  countermark inspect FILE.sigstore.json",
        ]
    return "\n".join(lines) + "\n"
