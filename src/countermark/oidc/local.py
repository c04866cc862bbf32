# SPDX-License-Identifier: Apache-2.0
"""Who may use the embedded issuer: people and programs of this machine, never a web page.

The issuer believes whatever address it is told, so it must not be reachable from elsewhere:
not over the network, not through a proxy, not by a page that rebinds its own name to 127.0.0.1,
and not by a page that makes the browser post a form.
"""

import re

from starlette.requests import Request

from countermark.core.errors import RequestRejected
from countermark.core.hosts import is_loopback

_HOST = re.compile(r"(?P<name>localhost|127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?", re.ASCII)
# A proxy on this machine makes the whole world look local; most of them say that they are there.
_PROXY_HEADERS = frozenset(
    ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
)


class NotLocal(RequestRejected):
    """The request does not come straight from this machine."""

    code = "not-local"


def check_local(request: Request) -> str:
    """The Host the client used, a loopback name in lower case. Raises NotLocal."""
    client = request.client
    if client is None or not is_loopback(client.host):
        raise NotLocal("the development login serves this machine only")
    if any(n in _PROXY_HEADERS or n.startswith("x-forwarded-") for n in request.headers):
        raise NotLocal("the development login does not serve proxies")
    hosts = [host.lower() for host in request.headers.getlist("host")]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise NotLocal("the development login answers to localhost, 127.0.0.1 and [::1] only")
    return hosts[0]


def check_same_origin(request: Request) -> str:
    """Let only pages of the issuer itself post a form; returns the Host. Raises NotLocal."""
    host = check_local(request)
    origin = f"{request.url.scheme}://{host}"
    if request.headers.getlist("origin") != [origin]:
        raise NotLocal("the form was not sent by the login page")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise NotLocal("the form was not sent by the login page")
    return host


def check_no_page(request: Request) -> None:
    """Let only programs in: browsers name the origin of whatever page is behind a request.

    Raises NotLocal.
    """
    check_local(request)
    if "origin" in request.headers or "sec-fetch-site" in request.headers:
        raise NotLocal("this address is not for web pages")
