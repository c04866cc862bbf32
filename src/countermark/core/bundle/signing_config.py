# SPDX-License-Identifier: Apache-2.0
"""SigningConfig v0.2: which services to sign with. And ClientTrustConfig, which carries one.

Format: Sigstore protobuf-specs, `SigningConfig` and `ClientTrustConfig` as proto3 JSON. Read as
leniently as peers do (unknown fields, integers as text), written exactly.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from countermark.core.encoding import from_rfc3339, to_rfc3339
from countermark.core.errors import FormatError, SettingsError

MEDIA_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG_MEDIA_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_MAX_BYTES = 1024 * 1024
_MAX_SERVICES = 64
_SELECTORS = {1: "ALL", 2: "ANY", 3: "EXACT"}
_EARLIEST = datetime.min.replace(tzinfo=UTC)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service:
    """One service to sign with.

    Attributes:
        url: base URL for CA, log and OIDC; the full endpoint for a timestamp authority.
        major_api_version: 1 for the CA (whose HTTP path says v2), 1 or 2 for a log.
        start: first moment of use, inclusive; None if not said.
        end: last moment of use, inclusive; None while in use.
        operator: who runs it; services of one operator never count twice.
    """

    url: str
    major_api_version: int
    start: datetime | None = None
    end: datetime | None = None
    operator: str = ""

    def usable_at(self, now: datetime) -> bool:
        """Whether `now` is in the (closed) range of use."""
        return (self.start is None or self.start <= now) and (self.end is None or now <= self.end)


@dataclass(frozen=True, slots=True)
class ServiceSelection:
    """How many of several services to use: ``ANY`` (one), ``ALL``, or ``EXACT`` with `count`."""

    selector: str = "ANY"
    count: int = 0


@dataclass(frozen=True, slots=True)
class SigningConfig:
    """The services of one instance. `select_one` and `select_several` choose among them."""

    ca_urls: tuple[Service, ...]
    oidc_urls: tuple[Service, ...]
    rekor_tlog_urls: tuple[Service, ...]
    tsa_urls: tuple[Service, ...] = ()
    rekor_tlog_config: ServiceSelection = field(default_factory=ServiceSelection)
    tsa_config: ServiceSelection = field(default_factory=ServiceSelection)

    @classmethod
    def parse(cls, data: bytes) -> "SigningConfig":
        """Read the document. Raises FormatError."""
        return cls.from_json(_load(data, "signing config"))

    @classmethod
    def from_json(cls, document: object) -> "SigningConfig":
        """Read the already decoded document. Raises FormatError."""
        what = "signing config"
        fields = _object(document, what)
        if fields.get("mediaType") != MEDIA_TYPE:
            raise FormatError(what, f"has media type {_shown(fields.get('mediaType'))}")
        return cls(
            ca_urls=_services(fields, "caUrls"),
            oidc_urls=_services(fields, "oidcUrls"),
            rekor_tlog_urls=_services(fields, "rekorTlogUrls"),
            tsa_urls=_services(fields, "tsaUrls"),
            rekor_tlog_config=_selection(fields, "rekorTlogConfig"),
            tsa_config=_selection(fields, "tsaConfig"),
        )

    def to_json(self) -> dict[str, Any]:
        """The document as JSON values; inverse of `from_json`."""
        return {
            "mediaType": MEDIA_TYPE,
            "caUrls": [_service_to_json(service) for service in self.ca_urls],
            "oidcUrls": [_service_to_json(service) for service in self.oidc_urls],
            "rekorTlogUrls": [_service_to_json(service) for service in self.rekor_tlog_urls],
            "rekorTlogConfig": _selection_to_json(self.rekor_tlog_config),
            "tsaUrls": [_service_to_json(service) for service in self.tsa_urls],
            "tsaConfig": _selection_to_json(self.tsa_config),
        }

    def serialize(self) -> bytes:
        """Encode; inverse of `parse` for times of whole milliseconds."""
        return json.dumps(self.to_json(), indent=2).encode("ascii")


def select_one(
    services: Sequence[Service], what: str, *, supported: Sequence[int], now: datetime
) -> Service:
    """The one service to use: highest supported version, newest start. Raises SettingsError."""
    return _candidates(services, what, supported=supported, now=now)[0]


def select_several(
    services: Sequence[Service],
    selection: ServiceSelection,
    what: str,
    *,
    supported: Sequence[int],
    now: datetime,
) -> tuple[Service, ...]:
    """The services to use, one per operator and all of one version. Raises SettingsError."""
    found = _candidates(services, what, supported=supported, now=now)
    if selection.selector == "ALL":
        return found
    if selection.selector == "ANY":
        return found[:1]
    if not 1 <= selection.count <= len(found):
        raise SettingsError(
            f"the signing config wants exactly {selection.count} of {len(found)} {what}s"
        )
    return found[: selection.count]


def parse_trust_config(data: bytes) -> tuple[dict[str, Any], SigningConfig]:
    """Read a ClientTrustConfig: the trusted root's JSON values, and the signing config."""
    what = "trust config"
    fields = _object(_load(data, what), what)
    if fields.get("mediaType") != TRUST_CONFIG_MEDIA_TYPE:
        raise FormatError(what, f"has media type {_shown(fields.get('mediaType'))}")
    root = _object(fields.get("trustedRoot"), "trusted root")
    return root, SigningConfig.from_json(fields.get("signingConfig"))


def _candidates(
    services: Sequence[Service], what: str, *, supported: Sequence[int], now: datetime
) -> tuple[Service, ...]:
    usable = [
        service
        for service in services
        if service.major_api_version in supported and service.usable_at(now)
    ]
    if not usable:
        versions = " or ".join(map(str, supported))
        raise SettingsError(f"the signing config names no {what} of API version {versions} for now")
    version = max(service.major_api_version for service in usable)
    newest: dict[str, Service] = {}
    for service in sorted(usable, key=lambda item: item.start or _EARLIEST, reverse=True):
        if service.major_api_version == version:
            newest.setdefault(service.operator, service)
    return tuple(newest.values())


def _load(data: bytes, what: str) -> object:
    if len(data) > _MAX_BYTES:
        raise FormatError(what, f"is larger than {_MAX_BYTES} bytes")
    try:
        document: object = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(what, "is not JSON") from error
    return document


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(what, "is not a JSON object")
    return value


def _services(fields: dict[str, Any], name: str) -> tuple[Service, ...]:
    items = fields.get(name) or []
    if not isinstance(items, list) or len(items) > _MAX_SERVICES:
        raise FormatError(name, f"is not a list of at most {_MAX_SERVICES} services")
    return tuple(_service(_object(item, name), name) for item in items)


def _service(item: dict[str, Any], name: str) -> Service:
    url = _text(item.get("url"), f"{name} url")
    if not url.startswith(("https://", "http://")):
        raise FormatError(f"{name} url", f"{_shown(url)} is not an http(s) URL")
    version = _small_integer(item.get("majorApiVersion", 0), f"{name} majorApiVersion")
    start = end = None
    if item.get("validFor") is not None:
        valid_for = _object(item["validFor"], f"{name} validFor")
        start = from_rfc3339(_text(valid_for.get("start"), f"{name} start"), f"{name} start")
        end = _optional(valid_for.get("end"), lambda text: from_rfc3339(text, f"{name} end"))
    operator = item.get("operator")
    return Service(
        url=url,
        major_api_version=version,
        start=start,
        end=end,
        operator="" if operator is None else _text(operator, f"{name} operator"),
    )


def _selection(fields: dict[str, Any], name: str) -> ServiceSelection:
    if fields.get(name) is None:
        return ServiceSelection()
    item = _object(fields[name], name)
    selector: object = item.get("selector")
    if isinstance(selector, int):
        selector = _SELECTORS.get(selector)
    if not isinstance(selector, str) or selector not in _SELECTORS.values():
        raise FormatError(name, f"selector {_shown(item.get('selector'))} is not known")
    count = _small_integer(item.get("count", 0), f"{name} count")
    return ServiceSelection(selector, count)


def _optional(value: object, read: Callable[[str], T]) -> T | None:
    return None if value is None else read(_text(value, "time"))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise FormatError(what, "is not text")
    return value


def _small_integer(value: object, what: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 999_999_999:
        raise FormatError(what, "is not a small non-negative integer")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]


def _service_to_json(service: Service) -> dict[str, Any]:
    item: dict[str, Any] = {"url": service.url, "majorApiVersion": service.major_api_version}
    if service.start is not None:
        item["validFor"] = {"start": to_rfc3339(service.start)}
        if service.end is not None:
            item["validFor"]["end"] = to_rfc3339(service.end)
    item["operator"] = service.operator  # sigstore-python wants it present, if empty
    return item


def _selection_to_json(selection: ServiceSelection) -> dict[str, Any]:
    item: dict[str, Any] = {"selector": selection.selector}
    if selection.count:
        item["count"] = selection.count
    return item
