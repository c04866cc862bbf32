# SPDX-License-Identifier: Apache-2.0
"""`countermark trust rotate`: change the key of a service, while the instance serves."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from countermark.app import bring_up
from countermark.app.data_dir import DataDir
from countermark.app.instance import FIRST_KEYS, InstanceConfig, Rotated, load_instance
from countermark.app.secrets import resolve_passphrase
from countermark.app.settings import Settings
from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError

SERVICES: tuple[Rotated, ...] = ("ca", "tsa", "log", "login", "tuf")
_NEXT = {
    "made": "publish the next key",
    "published": "switch to the next key",
    "switching": "finish the switch",
    "switched": "publish the end of the old key",
}


@click.command()
@click.argument("service", type=click.Choice(SERVICES), required=False)
@click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
@click.option("--status", "only_status", is_flag=True, help="Show keys and what is under way.")
@click.option("--continue", "go_on", is_flag=True, help="Only go on with what is under way.")
@click.option("--now", "at_once", is_flag=True, help="Switch without waiting for clients.")
@click.option(
    "--wait",
    "wait_days",
    type=click.FloatRange(0, 365),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="How long clients get to learn of the next key.",
)
@click.option("--new-root", is_flag=True, help="CA and TSA: with a new root key, too.")
@click.option("--abandon", is_flag=True, help="Take the next key back, before it is used.")
@click.option(
    "--keys-passphrase", metavar="FILE", default="", help="Online keys' passphrase (or env:NAME)."
)
@click.option(
    "--offline-passphrase", metavar="FILE", default="", help="Root keys' passphrase (or env:NAME)."
)
@json_option
def rotate(
    service: Rotated | None,
    data: str,
    only_status: bool,
    go_on: bool,
    at_once: bool,
    wait_days: float,
    new_root: bool,
    abandon: bool,
    keys_passphrase: str,
    offline_passphrase: str,
    as_json: bool,
) -> int:
    """Change a service's key: ca, tsa, log, login or tuf.

    Clients are told of the next key first; a week later, the same command with --continue switches
    to it and tells them when the old one ended. What was signed before stays valid. The instance
    serves all the while, or may be stopped. A killed run is finished by the next.

    \b
    countermark trust rotate tsa
    countermark trust rotate tsa --continue
    countermark trust rotate --status
    """
    output = Output(as_json=as_json)
    data_dir = bring_up.data_dir_of(Settings(data=data))
    try:
        if only_status or service is None:
            if service is None and not only_status:
                raise _usage("it must be said which key", f"name one of {', '.join(SERVICES)}")
            config = load_instance(data_dir.instance_file)
        else:
            if abandon and (go_on or at_once):
                raise _usage("--abandon takes a key back, and uses none", "leave the others out")
            config = _rotate(
                data_dir,
                service,
                go_on=go_on,
                at_once=at_once,
                wait=timedelta(days=wait_days),
                new_root=new_root,
                abandon=abandon,
                secrets=(keys_passphrase, offline_passphrase),
            )
    except CountermarkError as error:
        return output.fail(error)
    except OSError as error:  # a full disk, mostly
        halfway = SettingsError(f"{data_dir.path} cannot be changed: {error.strerror}")
        halfway.add_note("mend that and run the same with --continue: it goes on")
        return output.fail(halfway)
    _report(config, SERVICES if service is None else (service,), output)
    return OK


def _rotate(
    data_dir: DataDir,
    service: Rotated,
    *,
    go_on: bool,
    at_once: bool,
    wait: timedelta,
    new_root: bool,
    abandon: bool,
    secrets: tuple[str, str],
) -> InstanceConfig:
    # What follows takes libraries that running an instance does without.
    from countermark.app.hands import Secrets, hands_on
    from countermark.app.rotation import Rotator
    from countermark.app.rotation_keys import KeyMaker
    from countermark.drivers.system import SystemClock, SystemEntropy

    clock, entropy = SystemClock(), SystemEntropy()
    known = Secrets(*map(resolve_passphrase, secrets))
    with hands_on(data_dir, clock, entropy, known, _say) as hands:
        rotator = Rotator(data_dir, hands, clock)
        under_way = rotator.config().rotation_of(service) is not None
        if abandon:
            rotator.abandon(service)
            bring_up.record_anew(data_dir, rotator.config())
            return rotator.config()
        if go_on and not under_way:
            raise _usage(f"no rotation of {service} is under way", "leave out --continue")
        if under_way and new_root:
            raise _usage(
                f"a rotation of {service} is under way, with the key that it began with",
                "go on with --continue, or take it back with --abandon",
            )
        if not under_way:
            now = datetime.fromtimestamp(clock.now_ms() // 1000, UTC)
            maker = KeyMaker(data_dir, entropy, now, online=known.online, offline=known.offline)
            rotator.begin(service, lambda config: maker.make(service, config, new_root=new_root))
        try:
            rotator.advance(service, wait=wait, at_once=at_once)
        finally:  # this user's own clients, as far as it went
            bring_up.record_anew(data_dir, rotator.config())
        return rotator.config()


def _report(config: InstanceConfig, services: tuple[Rotated, ...], output: Output) -> None:
    found = [_state(config, service) for service in services]
    for state in found:
        output.line(f"{output.strong(state['service'])}  {_words(state)}")
        for key in state["keys"]:
            end = f" to {key['end']}" if key["end"] else ""
            output.line(f"  {key['state']:<6} {key['key']}  from {key['start']}{end}")
    if any(state["rotation"] for state in found):
        output.advice("Go on with: countermark trust rotate SERVICE --continue")
    output.result({"url": config.base_url, "services": found})


def _state(config: InstanceConfig, service: Rotated) -> dict[str, Any]:
    rotation = config.rotation_of(service)
    keys = _log_keys(config) if service == "log" else _service_keys(config, service)
    under_way = None
    if rotation is not None:
        waits = to_rfc3339(rotation.wait_until) if rotation.wait_until else None
        under_way = {"step": rotation.step, "since": to_rfc3339(rotation.at), "waitUntil": waits}
    return {"service": service, "keys": keys, "rotation": under_way}


def _words(state: dict[str, Any]) -> str:
    rotation = state["rotation"]
    if rotation is None:
        return "nothing under way"
    wait = f", not before {rotation['waitUntil']}" if rotation["waitUntil"] else ""
    return f"{rotation['step']}; next: {_NEXT[rotation['step']]}{wait}"


def _log_keys(config: InstanceConfig) -> list[dict[str, Any]]:
    found = [
        _key(
            log.key,
            "old" if log.frozen else "active",
            log.opened or config.created,
            log.frozen.at if log.frozen else None,
        )
        for log in config.logs
    ]
    return found + [
        _key(item.log.key, "next", item.log.opened or config.created, None)
        for item in config.next_logs
    ]


def _service_keys(config: InstanceConfig, service: Rotated) -> list[dict[str, Any]]:
    assert service != "log"
    known = config.keys_of(service)
    if not known:
        return [_key(FIRST_KEYS[service], "active", config.created, None)]
    return [_key(key.key, key.state, key.start, key.end) for key in known]


def _key(name: str, state: str, start: datetime, end: datetime | None) -> dict[str, Any]:
    ended = None if end is None else to_rfc3339(end)
    return {"key": name, "state": state, "start": to_rfc3339(start), "end": ended}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _usage(what: str, advice: str) -> RequestRejected:
    error = RequestRejected(what)
    error.add_note(advice)
    return error
