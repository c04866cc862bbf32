# SPDX-License-Identifier: Apache-2.0
"""The login's web pages. No scripts; everything shown is escaped; nobody may frame them."""

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from countermark.core.wire.oauth import AuthorizationRequest, redirect_origin
from countermark.httpkit.replies import BytesReply, bytes_reply

if TYPE_CHECKING:
    from jinja2 import Environment

STYLE_PATH = "/oidc/style.css"
ICON_PATH = "/oidc/icon.svg"

_CACHED = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    b'<rect width="32" height="32" rx="8" fill="#1d6b54"/>'
    b'<path d="M9 16.5l5 5L23.5 11" fill="none" stroke="#fff" stroke-width="3.2"'
    b' stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def login_page(
    asked: AuthorizationRequest, *, host: str, email: str, fault: str = ""
) -> BytesReply:
    """The page that asks for an address; what was asked comes back with its form."""
    origin = redirect_origin(asked.redirect_uri)
    return _page(
        "login.html",
        status=400 if fault else 200,
        # Browsers apply form-action to the redirect that answers the form, too.
        form_action=f"'self' {_source(origin)}".rstrip(),
        host=host,
        hidden=asked.to_parameters(),
        email=email,
        fault=_sentence(fault),
        destination=origin.removeprefix("http://"),
    )


def code_page(code: str, email: str, *, host: str) -> BytesReply:
    """The page that shows a code to carry to a terminal."""
    return _page("code.html", host=host, code=code, email=email)


def device_page(*, host: str, code: str, email: str, fault: str = "") -> BytesReply:
    """The page that asks for the code of a program elsewhere, and for an address."""
    return _page(
        "device.html",
        status=400 if fault else 200,
        form_action="'self'",
        host=host,
        code=code,
        email=email,
        fault=_sentence(fault),
    )


def device_done_page(email: str, *, host: str) -> BytesReply:
    """The page after it; without an address, the login was refused."""
    return _page("device_done.html", host=host, email=email)


def fault_page(message: str, status: int = 400) -> BytesReply:
    """The page for requests that cannot be answered by sending the browser back."""
    return _page("fault.html", status=status, host="", message=_sentence(message))


def style() -> BytesReply:
    """The pages' style sheet."""
    return bytes_reply(_STYLE, "text/css; charset=utf-8", headers=_CACHED)


def icon() -> BytesReply:
    """The pages' icon."""
    return bytes_reply(_ICON, "image/svg+xml", headers=_CACHED)


_STYLE = files("countermark.oidc").joinpath("static/style.css").read_bytes()


def _source(origin: str) -> str:
    # Content security policies have no form for IPv6 addresses; this is the nearest that works.
    return "http:" if "[" in origin else origin


def _sentence(message: str) -> str:
    return message and f"{message[0].upper()}{message[1:]}."


def _page(
    template: str, *, status: int = 200, form_action: str = "'none'", **values: object
) -> BytesReply:
    html = (
        _environment()
        .get_template(template)
        .render(style_path=STYLE_PATH, icon_path=ICON_PATH, **values)
    )
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action {form_action}; frame-ancestors 'none'"
    )
    headers = {
        "cache-control": "no-store",
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        # Not no-referrer: with that, browsers call the form's own origin "null".
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
    return bytes_reply(html.encode("utf-8"), "text/html; charset=utf-8", status, headers)


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    # Imported with the first page: most workers never show one.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("countermark.oidc"), autoescape=True, undefined=StrictUndefined
    )
