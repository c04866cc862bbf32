# SPDX-License-Identifier: Apache-2.0
"""Who signs: where an identity token comes from.

In order: one that was handed over; the development login of an instance of this machine, if an
e-mail address was named; the CI system this runs in; that development login again, for the
address that `countermark login` remembered; a browser. A token is a bearer secret: it is never
stored, logged or part of an error.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from countermark.client.ambient import ambient_token, missing_token_hint
from countermark.client.choice import Instance, configured_email
from countermark.client.deadline import Deadline
from countermark.client.instances import read_private_file
from countermark.client.logins import load_email
from countermark.client.transport import Transport, check, is_loopback
from countermark.core.bundle.signing_config import select_one
from countermark.core.encoding import from_utf8
from countermark.core.errors import SettingsError, TokenRejected
from countermark.core.identity.token import parse_token, subject_to_sign
from countermark.core.wire.fulcio import error_message
from countermark.core.wire.oidc import (
    LOCAL_SECRET_HEADER,
    LOCAL_TOKEN_PATH,
    LocalTokenRequest,
    TokenReply,
)

if TYPE_CHECKING:
    from countermark.client.device import ToShow

AUDIENCE = "sigstore"
TOKEN_VARIABLE = "COUNTERMARK_IDENTITY_TOKEN"  # noqa: S105 - a variable's name
_LEAST_LIFE_S = 5
_MAX_TIME_S = 2**53  # JSON has numbers that no float can hold


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """An identity token and what it says of itself; only its issuer's keys could prove it.

    Attributes:
        text: the token, a secret.
        issuer: its `iss` claim.
        subject: what to sign as proof of possession: the e-mail address, or else `sub`.
        expires_at_s: its `exp` claim, Unix seconds.
    """

    text: str = field(repr=False)
    issuer: str
    subject: str
    expires_at_s: float

    @classmethod
    def parse(cls, text: str) -> "IdentityToken":
        """Take a token apart. Raises TokenRejected."""
        token = parse_token(text.strip())
        expires = token.claims.get("exp")
        is_number = isinstance(expires, int | float) and not isinstance(expires, bool)
        if expires is None or not is_number or abs(expires) > _MAX_TIME_S:
            raise TokenRejected("the identity token does not say when it expires")
        return cls(token.text, token.issuer, subject_to_sign(token.claims), float(expires))

    def check_alive(self, now_s: float) -> None:
        """Raise TokenRejected if it has expired, or will while it is on its way."""
        if now_s > self.expires_at_s - _LEAST_LIFE_S:
            error = TokenRejected(f"the identity token of {self.subject} has expired")
            error.add_note("get a fresh one, for instance with `countermark login --print-token`")
            raise error


class Prompts(NamedTuple):
    """How to involve a person; see `oauth.log_in` and `device.log_in_by_code`.

    Attributes:
        open_browser: opens an address and says whether that worked.
        ask_for_code: shows an address and returns what the person typed.
        show_device_code: shows an address and the code to type there.
        device: ``only`` to log in by a device code, ``offered`` to do so where it is offered.
    """

    open_browser: Callable[[str], bool]
    ask_for_code: Callable[[str], str]
    show_device_code: "Callable[[ToShow], None] | None" = None
    device: str = ""


def find_identity(
    instance: Instance,
    transport: Transport,
    *,
    token: str = "",
    email: str = "",
    prompts: Prompts | None = None,
    environ: Mapping[str, str] = os.environ,
    timeout_s: float = 60,
) -> IdentityToken:
    """The token to sign with. Raises TokenRejected, with what to do, if none can be had.

    Args:
        instance: where it is to be used.
        transport: to fetch it with.
        token: a token handed over, which then is the only one considered.
        email: an address to sign as, for an instance of this machine.
        prompts: how to have a person log in; None if there is nobody to ask.
        environ: the environment, where tokens of CI systems are found.
        timeout_s: how long token services may take; a person may take longer.
    """
    asked_for_code = prompts is not None and prompts.device == "only" and not (token or email)
    text = ""
    if not asked_for_code:  # whoever asked for it is not to sign as the machine
        budgeted = transport.until(Deadline.after(timeout_s))
        text = _find(instance, budgeted, token=token, email=email, environ=environ)
    if not text:
        if prompts is None:
            raise _nobody(instance, environ)
        text = browser_token(instance, transport, prompts)
    found = IdentityToken.parse(text)
    found.check_alive(time.time())
    return found


def has_local_login(instance: Instance) -> bool:
    """Whether the instance runs on this machine for this user, who can have any token then."""
    return bool(instance.data_dir) and is_loopback(urlsplit(instance.url).hostname or "")


def local_token(instance: Instance, transport: Transport, email: str) -> str:
    """A token of the development issuer for any address; needs the data directory's secret.

    Raises RequestRejected if the instance refuses, SettingsError if this is not our instance.
    """
    if not has_local_login(instance):
        error = SettingsError(f"{instance.name} issues no tokens for the asking")
        error.add_note("leave out --email: without a token, `countermark sign` opens a browser")
        raise error
    path = os.path.join(instance.data_dir, "local-secret")
    secret = read_private_file(path)
    if secret is None:
        raise SettingsError(f"{path} is missing, so no development token can be had")
    reply = transport.post(
        instance.url + LOCAL_TOKEN_PATH,
        "the login service",
        LocalTokenRequest(email).serialize(),
        content_type="application/json",
        headers={LOCAL_SECRET_HEADER: from_utf8(secret, "local secret").strip()},
    )
    check(reply, "the login service", error_message(reply.body))
    return TokenReply.parse(reply.body).id_token


def browser_token(instance: Instance, transport: Transport, prompts: Prompts) -> str:
    """Have a person log in at the instance's identity provider."""
    from countermark.client.oauth import log_in  # brings an HTTP server along

    issuer = select_one(
        instance.signing_config.oidc_urls,
        "identity provider",
        supported=(1,),
        now=datetime.now(tz=UTC),
    )
    show = prompts.show_device_code
    if show is not None and prompts.device:
        from countermark.client.device import log_in_by_code, offers_device_flow

        if prompts.device == "only" or offers_device_flow(issuer.url, transport):
            return log_in_by_code(issuer.url, transport, show)
    return log_in(
        issuer.url,
        transport,
        open_browser=prompts.open_browser,
        ask_for_code=prompts.ask_for_code,
    )


def _find(
    instance: Instance,
    transport: Transport,
    *,
    token: str,
    email: str,
    environ: Mapping[str, str],
) -> str:
    if handed := token or environ.get(TOKEN_VARIABLE, ""):
        return handed
    if email:
        return local_token(instance, transport, email)
    # Who runs an instance of their own on a cloud's machine is not that machine.
    clouds = not has_local_login(instance)
    if ambient := ambient_token(AUDIENCE, transport, environ, clouds=clouds):
        return ambient
    if has_local_login(instance) and (address := load_email(instance.name) or configured_email()):
        return local_token(instance, transport, address)
    return ""


def _nobody(instance: Instance, environ: Mapping[str, str]) -> TokenRejected:
    error = TokenRejected("nobody is logged in, and there is no terminal to ask at")
    if hint := missing_token_hint(environ):
        error.add_note(hint)
        return error
    if has_local_login(instance):
        way = "use --email YOU@EXAMPLE.ORG, or `countermark login --email YOU@EXAMPLE.ORG` first"
    else:
        way = "use --identity-token-file FILE; `countermark login --print-token` makes one"
    error.add_note(way)
    return error
