# SPDX-License-Identifier: Apache-2.0
"""Google Cloud: the token of a machine's, a pod's or a job's service account, or of another one.

The metadata server is asked only where `GCE_METADATA_HOST` is set or the firmware says that this
is Google's machine; for another account (`GOOGLE_SERVICE_ACCOUNT_NAME`), the service that lends
it is asked with the machine's own access token.
"""

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec

from countermark.client.deadline import Deadline
from countermark.client.token_reply import read_reply
from countermark.client.transport import (
    METADATA_ADDRESS,
    METADATA_HEADER,
    Reply,
    Transport,
    check,
    is_loopback,
)
from countermark.core.errors import SettingsError, TokenRejected, Unavailable

_WHAT = "Google's metadata server"
_LENDER = "Google's service for other accounts"
_API = "https://iamcredentials.googleapis.com"
_PRODUCT_FILE = "/sys/class/dmi/id/product_name"
_PRODUCTS = ("Google", "Google Compute Engine")
_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"
_HEADERS = {METADATA_HEADER: "Google"}
_WAIT_S = 5


class _AccessReply(msgspec.Struct):
    access_token: str


class _IdentityReply(msgspec.Struct):
    token: str


def google_token(
    audience: str,
    transport: Transport,
    environ: Mapping[str, str],
    *,
    api: str = _API,
    product_file: str = _PRODUCT_FILE,
) -> str | None:
    """An identity token of the account that this runs as; None elsewhere, or if there is none.

    Args:
        audience: what it is to be meant for.
        transport: to ask with.
        environ: the environment.
        api: base URL of the service that lends other accounts.
        product_file: where the firmware says whose machine this is.

    Raises TokenRejected or Unavailable if another account was named but can't be had.
    """
    host = _host(environ)
    if not host and not _is_google(product_file):
        return None
    quick = transport.until(Deadline.after(_WAIT_S))
    base = f"http://{host or METADATA_ADDRESS}{_ACCOUNT}"
    if account := environ.get("GOOGLE_SERVICE_ACCOUNT_NAME", ""):
        return _lent(audience, account, quick, base, transport, api)
    query = urlencode({"audience": audience, "format": "full"})
    try:
        reply = quick.get(f"{base}/identity?{query}", _WHAT, headers=_HEADERS)
    except Unavailable:  # the firmware says so, but nobody is there
        return None
    if reply.status == 404:  # a machine without an account
        return None
    return _genuine(check(reply, _WHAT)).body.decode("ascii", "replace").strip()


def _lent(
    audience: str, account: str, quick: Transport, base: str, transport: Transport, api: str
) -> str:
    own = _genuine(check(quick.get(f"{base}/token", _WHAT, headers=_HEADERS), _WHAT))
    access = read_reply(own.body, _AccessReply).access_token
    reply = transport.post(
        f"{api}/v1/projects/-/serviceAccounts/{quote(account, safe='@')}:generateIdToken",
        _LENDER,
        json.dumps({"audience": audience, "includeEmail": True}).encode("ascii"),
        content_type="application/json",
        headers={"Authorization": f"Bearer {access}"},
    )
    return read_reply(check(reply, _LENDER).body, _IdentityReply).token


def _genuine(reply: Reply) -> Reply:
    """Google's documentation asks for this look: another server would not say so."""
    if reply.headers.get(METADATA_HEADER.lower()) != "Google":
        raise TokenRejected("what answers in place of Google's metadata server is not it")
    return reply


def _host(environ: Mapping[str, str]) -> str:
    host = environ.get("GCE_METADATA_HOST", "")
    if host in ("metadata.google.internal", METADATA_ADDRESS):
        return METADATA_ADDRESS  # by address: a name could be answered by anybody
    if host and not is_loopback(host.rpartition(":")[0] or host):
        raise SettingsError(
            f"GCE_METADATA_HOST {host[:100]!r} is neither Google's nor this machine"
        )
    return host


def _is_google(product_file: str) -> bool:
    try:
        with open(product_file, encoding="ascii", errors="replace") as file:
            return file.read(256).strip() in _PRODUCTS
    except OSError:
        return False
