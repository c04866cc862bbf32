# SPDX-License-Identifier: Apache-2.0
"""Which instance to sign with: flags, `COUNTERMARK_*`, the user's config.toml, the registry.

The first of these that says anything decides alone. Nothing is read from the working directory,
no port is probed, and the public instance is used only by those who ask for it by name.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields

import countermark
from countermark.client.instances import InstanceRecord, config_path, load_instances
from countermark.core.bundle.signing_config import SigningConfig, parse_trust_config
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import FormatError, SettingsError

_SHIPPED = {"public": "public_good", "staging": "staging"}
_MAX_BYTES = 4 * 1024 * 1024
_CONFIG_KEYS = frozenset(
    ("url", "instance", "trust_config", "trusted_root", "signing_config", "email")
)


@dataclass(frozen=True, slots=True)
class InstanceChoice:
    """What somebody said about the instance to use; empty text for nothing.

    Attributes:
        url: base URL of a recorded instance.
        instance: ``public``, its test bed ``staging``, or again a recorded URL.
        trust_config: path of a ClientTrustConfig.
        trusted_root: path of a trusted root, given together with `signing_config`.
        signing_config: path of a SigningConfig v0.2.
    """

    url: str = ""
    instance: str = ""
    trust_config: str = ""
    trusted_root: str = ""
    signing_config: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance with all that signing needs.

    Attributes:
        name: how to speak of it: ``public``, ``staging``, its URL, or the file that describes it.
        url: its base URL; empty if only its single services are known.
        trusted_root: what its signatures are verified with.
        signing_config: its services.
        data_dir: its data directory if it runs on this machine for this user, else empty.
    """

    name: str
    url: str
    trusted_root: TrustedRoot
    signing_config: SigningConfig
    data_dir: str = ""


def choose_instance(
    flags: InstanceChoice | None = None, *, environ: Mapping[str, str] = os.environ
) -> Instance:
    """The instance to sign with. Raises SettingsError, with what to do, if there is none."""
    for choice in (flags, _from_environ(environ), _from_config()):
        if choice:
            return _resolve(choice)
    records = [record for record in load_instances() if _is_local(record)]
    if records:
        return _from_record(records[0])
    error = SettingsError("there is no instance to sign with")
    error.add_note(
        "start one of your own with `countermark up`, name one with --url or --trust-config,"
        " or ask for the public one with --instance public"
    )
    raise error


def configured_email() -> str:
    """The e-mail address in config.toml, for instances of this machine; empty if none."""
    return user_config().get("email", "")


def user_config() -> dict[str, str]:
    """The user's config.toml, all text values. Raises SettingsError for what it can't hold."""
    path = config_path()
    try:
        with open(path, "rb") as file:
            config = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # giant numbers and depth too
        raise SettingsError(f"{path} is not TOML: {error}") from error
    faults = [f"unknown key {key!r}" for key in config if key not in _CONFIG_KEYS]
    faults += [f"{key} is not text" for key, value in config.items() if not isinstance(value, str)]
    if faults:
        raise SettingsError(f"{path}: {'; '.join(faults)}")
    return config


def _from_environ(environ: Mapping[str, str]) -> InstanceChoice:
    return InstanceChoice(
        **{
            field.name: environ.get(f"COUNTERMARK_{field.name.upper()}", "")
            for field in fields(InstanceChoice)
        }
    )


def _from_config() -> InstanceChoice:
    config = user_config()
    return InstanceChoice(
        **{field.name: config.get(field.name, "") for field in fields(InstanceChoice)}
    )


def _resolve(choice: InstanceChoice) -> Instance:
    ways = [choice.url or choice.instance, choice.trust_config]
    ways.append(choice.trusted_root or choice.signing_config)
    if sum(map(bool, ways)) != 1 or (choice.url and choice.instance):
        raise SettingsError("an instance is named in more than one way; name it once")
    if choice.trust_config:
        root, signing_config = parse_trust_config(_read(choice.trust_config))
        return Instance(choice.trust_config, "", root, signing_config)
    if choice.trusted_root or choice.signing_config:
        if not (choice.trusted_root and choice.signing_config):
            raise SettingsError("signing needs both a trusted root and a signing config")
        root = TrustedRoot.parse(_read(choice.trusted_root))
        config = SigningConfig.parse(_read(choice.signing_config))
        return Instance(choice.trusted_root, "", root, config)
    return _recorded(choice.url or choice.instance)


def _recorded(url: str) -> Instance:
    wanted = url.rstrip("/")
    for record in load_instances():
        if record.url == wanted:
            return _from_record(record)
    if wanted in _SHIPPED:
        return _shipped(wanted)
    error = SettingsError(f"{wanted} is not an instance that you trust yet")
    error.add_note(
        "ask whoever runs it for its TUF root, by a way you trust, and give it to"
        f" `countermark trust fetch {wanted} --root FILE`; or name its trust configuration"
        " with --trust-config FILE"
    )
    raise error


def _from_record(record: InstanceRecord) -> Instance:
    if record.tuf is not None and not record.data_dir:
        # Signing needs the network anyway; a day without an attempt is the most it waits.
        from countermark.client.trust.following import refresh_if_due, use_kept

        record = use_kept(refresh_if_due(record)).record
    if not record.signing_config_json:
        raise SettingsError(f"{record.url} does not say which services to sign with")
    return Instance(
        name=record.url,
        url=record.url,
        trusted_root=TrustedRoot.parse(record.trusted_root_json),
        signing_config=SigningConfig.parse(record.signing_config_json),
        data_dir=record.data_dir,
    )


def _is_local(record: InstanceRecord) -> bool:
    # An instance whose directory was deleted can't come back; its bundles can still be verified.
    return bool(record.data_dir) and os.path.isdir(record.data_dir)


def _shipped(name: str) -> Instance:
    stem = os.path.join(os.path.dirname(countermark.__file__), "trust_data", _SHIPPED[name])
    return Instance(
        name=name,
        url="",
        trusted_root=TrustedRoot.parse(_read(f"{stem}_trusted_root.json")),
        signing_config=SigningConfig.parse(_read(f"{stem}_signing_config.json")),
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(path, f"is larger than {_MAX_BYTES} bytes")
    return data
