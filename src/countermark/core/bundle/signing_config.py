# SPDX-License-Identifier: Apache-2.0
"""SigningConfig v0.2: which services to sign with. And ClientTrustConfig, which carries one.

Format: Sigstore protobuf-specs, `SigningConfig` and `ClientTrustConfig` as proto3 JSON. Read as
leniently as peers do (unknown fields, integers as text), written exactly.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from countermark.core.bundle import protojson
from countermark.core.bundle.protojson import JSONObject
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.encoding import from_rfc3339, to_rfc3339
from countermark.core.errors import FormatError, SettingsError

MEDIA_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG_MEDIA_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_MAX_BYTES = 1024 * 1024
_MAX_SERVICES = 64
_SELECTORS = {1: "ALL", 2: "ANY", 3: "EXACT"}
_EARLIEST = datetime.min.replace(tzinfo=UTC)


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


class Candidates(NamedTuple):
    """Services that may be used, the preferred one first, and how many of them must be."""

    services: tuple[Service, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class SigningConfig:
    """The services of one instance. `select_one` and `select_candidates` choose among them."""

    ca_urls: tuple[Service, ...]
    oidc_urls: tuple[Service, ...]
    rekor_tlog_urls: tuple[Service, ...]
    tsa_urls: tuple[Service, ...] = ()
    rekor_tlog_config: ServiceSelection = field(default_factory=ServiceSelection)
    tsa_config: ServiceSelection = field(default_factory=ServiceSelection)

    @classmethod
    def parse(cls, data: bytes) -> "SigningConfig":
        """Read the document. Raises FormatError."""
        return cls.from_json(protojson.parse_message(data, "signing config", limit=_MAX_BYTES))

    @classmethod
    def from_json(cls, tree: JSONObject) -> "SigningConfig":
        """Read the already decoded document. Raises FormatError."""
        _check_media_type(tree, "signing config", MEDIA_TYPE)
        return cls(
            ca_urls=_services(tree, "caUrls"),
            oidc_urls=_services(tree, "oidcUrls"),
            rekor_tlog_urls=_services(tree, "rekorTlogUrls"),
            tsa_urls=_services(tree, "tsaUrls"),
            rekor_tlog_config=_selection(tree, "rekorTlogConfig"),
            tsa_config=_selection(tree, "tsaConfig"),
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


def select_candidates(
    services: Sequence[Service],
    selection: ServiceSelection,
    what: str,
    *,
    supported: Sequence[int],
    now: datetime,
) -> Candidates:
    """The services to choose from, and how many to use; all of one version, one per operator.

    Raises SettingsError if there are fewer than the selection asks for.
    """
    found = _candidates(services, what, supported=supported, now=now)
    if selection.selector == "ALL":
        return Candidates(found, len(found))
    if selection.selector == "ANY":
        return Candidates(found, 1)
    if not 1 <= selection.count <= len(found):
        raise SettingsError(
            f"the signing config wants exactly {selection.count} of {len(found)} {what}s"
        )
    return Candidates(found, selection.count)


def parse_trust_config(data: bytes) -> tuple[TrustedRoot, SigningConfig]:
    """Read a ClientTrustConfig. Raises FormatError."""
    what = "trust config"
    tree = protojson.parse_message(data, what, limit=_MAX_BYTES + MAX_TRUSTED_ROOT_BYTES)
    _check_media_type(tree, what, TRUST_CONFIG_MEDIA_TYPE)
    root = TrustedRoot.from_json(protojson.required_object(tree, "trustedRoot"))
    return root, SigningConfig.from_json(protojson.required_object(tree, "signingConfig"))


def trust_config_to_json(root: TrustedRoot, signing_config: SigningConfig) -> dict[str, Any]:
    """A ClientTrustConfig as JSON values; inverse of `parse_trust_config`."""
    return {
        "mediaType": TRUST_CONFIG_MEDIA_TYPE,
        "trustedRoot": root.to_json(),
        "signingConfig": signing_config.to_json(),
    }


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


def _check_media_type(tree: JSONObject, what: str, expected: str) -> None:
    found = protojson.text(tree, "mediaType")
    if found != expected:
        raise FormatError(what, f"media type {found[:80]!r} is not supported")


def _services(tree: JSONObject, name: str) -> tuple[Service, ...]:
    return tuple(_service(item) for item in protojson.objects(tree, name, limit=_MAX_SERVICES))


def _service(tree: JSONObject) -> Service:
    url = protojson.required_text(tree, "url")
    if not url.startswith(("https://", "http://")):
        raise FormatError("url", f"{url[:80]!r} is not an http(s) URL")
    start = end = None
    if (valid_for := protojson.optional_object(tree, "validFor")) is not None:
        start = from_rfc3339(protojson.required_text(valid_for, "start"), "validFor.start")
        if text := protojson.text(valid_for, "end"):
            end = from_rfc3339(text, "validFor.end")
    return Service(
        url=url,
        major_api_version=protojson.int64(tree, "majorApiVersion"),
        start=start,
        end=end,
        operator=protojson.text(tree, "operator"),
    )


def _selection(tree: JSONObject, name: str) -> ServiceSelection:
    item = protojson.optional_object(tree, name)
    if item is None:
        return ServiceSelection()
    selector = protojson.enum(item, "selector", _SELECTORS)
    if selector not in _SELECTORS.values():
        raise FormatError(name, f"selector {selector[:40]!r} is not known")
    return ServiceSelection(selector, protojson.int64(item, "count"))


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
