# SPDX-License-Identifier: Apache-2.0
"""SPIFFE: a JWT of the agent behind `SPIFFE_ENDPOINT_SOCKET` (Workload API, Unix sockets)."""

import socket
from collections.abc import Mapping

from countermark.client.deadline import Deadline
from countermark.core.errors import FormatError, SettingsError, UpstreamDown
from countermark.core.wire.spiffe import Conversation, request

VARIABLE = "SPIFFE_ENDPOINT_SOCKET"
_WAIT_S = 10
_PIECE_BYTES = 16 * 1024


def spiffe_token(
    audience: str, environ: Mapping[str, str], *, wait_s: float = _WAIT_S
) -> str | None:
    """A JWT that names the workload, meant for `audience`; None where no agent is named.

    Args:
        audience: what it is to be meant for.
        environ: the environment.
        wait_s: how long the agent may take.

    Raises SettingsError for an address that is no Unix socket, UpstreamDown if the agent gives
    nothing: it does so too if it knows no name for this workload.
    """
    address = environ.get(VARIABLE, "")
    if not address:
        return None
    scheme, _, path = address.partition(":")
    path = path.removeprefix("//") if path.startswith("///") else path
    named = scheme == "unix" and path.startswith("/") and not path.startswith("//")
    if not named or not hasattr(socket, "AF_UNIX"):
        raise SettingsError(f"{VARIABLE} {address[:100]!r} is no address of a Unix socket")
    talk = Conversation()
    try:
        _hold(talk, path, audience, Deadline.after(wait_s))
    except OSError as error:
        reason = error.strerror or "it takes too long"
        raise UpstreamDown(f"the SPIFFE agent at {path} gave no token: {reason}") from error
    try:
        return talk.token()
    except FormatError as error:
        down = UpstreamDown(f"the SPIFFE agent at {path} gave no token to this workload")
        down.add_note("register the workload with the agent's server, or unset " + VARIABLE)
        raise down from error


def _hold(talk: Conversation, path: str, audience: str, deadline: Deadline) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(max(0.001, deadline.left_s()))
        agent.connect(path)
        agent.sendall(request(audience))
        while not talk.over:
            left_s = deadline.left_s()
            if left_s <= 0:
                raise TimeoutError
            agent.settimeout(left_s)
            data = agent.recv(_PIECE_BYTES)
            if not data:
                return
            if answer := talk.take(data):
                agent.sendall(answer)
