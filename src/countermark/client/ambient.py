# SPDX-License-Identifier: Apache-2.0
"""Identity tokens that the surroundings offer to the program running in them.

In cosign's order: GitHub Actions (and Forgejo), Buildkite, every system that puts a token into
`SIGSTORE_ID_TOKEN` (GitLab's `id_tokens`, Codefresh), CircleCI, a file (Kubernetes' projected
tokens, SPIFFE's helper), Google Cloud and a SPIFFE agent (modules of their own). A token is a
bearer secret: requests for it go over https or stay on this machine, and nothing of it is ever
shown.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from countermark.client.token_reply import read_reply
from countermark.client.transport import Transport, check
from countermark.client.verify import read_file
from countermark.core.errors import (
    NotFound,
    SettingsError,
    TokenRejected,
    UpstreamDown,
)

FILE_VARIABLE = "COUNTERMARK_IDENTITY_TOKEN_FILE"
_COSIGN_FILE = "/var/run/sigstore/cosign/oidc-token"
_BUILDKITE = "https://agent.buildkite.com/v3"
_WHAT = "the CI system's token service"
_COMMAND_TIMEOUT_S = 30
_MAX_TOKEN_BYTES = 16 * 1024


class _GitHubReply(msgspec.Struct):
    value: str


class _BuildkiteReply(msgspec.Struct):
    token: str


class _Asked(NamedTuple):
    """What every kind of surroundings is asked with."""

    audience: str
    transport: Transport
    environ: Mapping[str, str]


def ambient_token(
    audience: str, transport: Transport, environ: Mapping[str, str], *, clouds: bool = True
) -> str | None:
    """The token that the surroundings offer, meant for `audience`; None if they offer none.

    Args:
        audience: what it is to be meant for.
        transport: to ask for it.
        environ: the environment, which says where this runs.
        clouds: whether a cloud or an agent of the machine may speak for whoever works on it.

    Raises TokenRejected if there should be one but is not, UpstreamDown or RequestRejected if
    the service behind it does not do its part.
    """
    asked = _Asked(audience, transport, environ)
    for ask in _KINDS:
        if (token := ask(asked)) is not None:
            return token
    if clouds:
        # Few are there.
        from countermark.client.ambient_google import google_token
        from countermark.client.ambient_spiffe import spiffe_token

        return google_token(audience, transport, environ) or spiffe_token(audience, environ)
    return None


def missing_token_hint(environ: Mapping[str, str]) -> str:
    """What to do about a token that the surroundings could offer but do not; empty if unknown."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return "give this workflow job `permissions: id-token: write`"
    if environ.get("GITLAB_CI") == "true":
        return "give this job `id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}`"
    if environ.get("CF_BUILD_ID"):
        return "add the step `obtain-oidc-id-token` with audience sigstore before this one"
    return ""


def _github(asked: _Asked) -> str | None:
    url = asked.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    if not url:
        return None
    secret = asked.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    if not secret:
        raise TokenRejected("ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set in this job")
    reply = asked.transport.get(
        f"{url}&audience={quote(asked.audience, safe='')}",
        _WHAT,
        headers={"Authorization": f"bearer {secret}"},
    )
    return read_reply(check(reply, _WHAT).body, _GitHubReply).value


def _buildkite(asked: _Asked) -> str | None:
    environ = asked.environ
    secret, job = environ.get("BUILDKITE_AGENT_ACCESS_TOKEN"), environ.get("BUILDKITE_JOB_ID")
    if secret and job:
        endpoint = environ.get("BUILDKITE_AGENT_ENDPOINT") or _BUILDKITE
        reply = asked.transport.post(
            f"{endpoint.rstrip('/')}/jobs/{quote(job, safe='')}/oidc/tokens",
            _WHAT,
            json.dumps({"audience": asked.audience}).encode("ascii"),
            content_type="application/json",
            headers={"Authorization": f"Token {secret}"},
        )
        return read_reply(check(reply, _WHAT).body, _BuildkiteReply).token
    if environ.get("BUILDKITE") != "true":
        return None
    command = ["buildkite-agent", "oidc", "request-token", "--audience", asked.audience]
    return _from_command(command)


def _variable(asked: _Asked) -> str | None:
    return asked.environ.get("SIGSTORE_ID_TOKEN") or None


def _circleci(asked: _Asked) -> str | None:
    if asked.environ.get("CIRCLECI") != "true":
        return None
    claims = json.dumps({"aud": asked.audience})
    return _from_command(["circleci", "run", "oidc", "get", "--claims", claims, "--root-issuer"])


def _file(asked: _Asked) -> str | None:
    """Written anew by the cluster or an agent before it expires, so read each time."""
    named = asked.environ.get(FILE_VARIABLE, "")
    path = named or _COSIGN_FILE
    try:
        data = read_file(path, _MAX_TOKEN_BYTES)
    except NotFound as error:
        if not named:
            return None
        raise SettingsError(f"{FILE_VARIABLE} names {path}, which is not there") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    text = data.decode("ascii", "replace").strip()
    if not text:
        raise TokenRejected(f"{path} is empty, so it holds no identity token")
    return text


_KINDS: tuple[Callable[[_Asked], str | None], ...] = (
    _github,
    _buildkite,
    _variable,
    _circleci,
    _file,
)


def _from_command(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_COMMAND_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UpstreamDown(f"`{command[0]}` gave no identity token") from error
    return done.stdout.decode("ascii", "replace").strip()
