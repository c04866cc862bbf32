# SPDX-License-Identifier: Apache-2.0
"""Identity tokens that a CI system offers to the job running in it.

GitHub Actions (and Forgejo), Buildkite, CircleCI, and every system that puts a token into
`SIGSTORE_ID_TOKEN` (GitLab's `id_tokens`, Codefresh). The cloud platforms' metadata services are
not asked: a login that nobody configured should not come out of the network.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from countermark.client.transport import Transport, check
from countermark.core.errors import FormatError, TokenRejected, UpstreamDown

_COSIGN_FILE = "/var/run/sigstore/cosign/oidc-token"
_COMMAND_TIMEOUT_S = 30
_MAX_TOKEN_BYTES = 16 * 1024


class _GitHubReply(msgspec.Struct):
    value: str


def ambient_token(audience: str, transport: Transport, environ: Mapping[str, str]) -> str | None:
    """The token of the CI system this runs in, meant for `audience`; None outside of any.

    Raises TokenRejected if the system should have one to offer but does not.
    """
    if environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        return _github(audience, transport, environ)
    if environ.get("BUILDKITE") == "true":
        return _from_command(["buildkite-agent", "oidc", "request-token", "--audience", audience])
    if environ.get("SIGSTORE_ID_TOKEN"):
        return environ["SIGSTORE_ID_TOKEN"]
    if environ.get("CIRCLECI") == "true":
        claims = json.dumps({"aud": audience})
        command = ["circleci", "run", "oidc", "get", "--claims", claims, "--root-issuer"]
        return _from_command(command)
    if os.path.isfile(_COSIGN_FILE):
        with open(_COSIGN_FILE, encoding="ascii", errors="replace") as file:
            return file.read(_MAX_TOKEN_BYTES + 1)
    return None


def _github(audience: str, transport: Transport, environ: Mapping[str, str]) -> str:
    what = "the CI system's token service"
    secret = environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    if not secret:
        raise TokenRejected("ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set in this job")
    url = f"{environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={quote(audience, safe='')}"
    reply = transport.get(url, what, headers={"Authorization": f"bearer {secret}"})
    check(reply, what)
    try:
        return msgspec.json.decode(reply.body, type=_GitHubReply).value
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError("CI token", "the token service did not answer as expected") from error


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
