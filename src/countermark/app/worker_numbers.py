# SPDX-License-Identifier: Apache-2.0
"""How a worker's requests are counted: which service an endpoint belongs to."""

from typing import Final

from countermark.app.launch import Launch
from countermark.httpkit.metering import OTHER, RequestMeter
from countermark.observe.board import Region

_SERVICES: Final = (
    ("/api/v1/log", "log"),
    ("/api/v1/index", "log"),
    ("/ping", "log"),
    ("/log2-", "log"),
    ("/api/v1/timestamp", "tsa"),
    ("/api/v2/", "ca"),
    ("/api/v1/signingCert", "ca"),
    ("/api/v1/rootCert", "ca"),
    ("/ctlog/", "ctlog"),
    ("/oidc/", "login"),
    ("/tuf/", "trust"),
    ("/trust/", "trust"),
    ("/healthz", "operations"),
    ("/readyz", "operations"),
    ("/metrics", "operations"),
)


def service_of(endpoint: str) -> str:
    """The service that a route's template belongs to."""
    return next((name for start, name in _SERVICES if endpoint.startswith(start)), OTHER)


def request_meter(launch: Launch, region: Region) -> RequestMeter:
    """What counts a worker's requests in its region."""
    return RequestMeter(
        region, service_of, access_log=launch.access_log, behind_proxy=launch.behind_proxy
    )
