# SPDX-License-Identifier: Apache-2.0
"""Listening sockets: one set for each worker, all on one port.

The kernel deals connections out among them (SO_REUSEPORT); with one shared socket, the first
worker to wake would take a whole burst. The supervisor keeps all of them open, so connections
wait, rather than fail, while a worker is started again.
"""

import errno
import socket

from countermark.core.errors import SettingsError

_BACKLOG = 1024


def listen(host: str, port: int, workers: int) -> list[list[socket.socket]]:
    """Listening sockets, a list for each worker.

    ``127.0.0.1`` and ``localhost`` mean both loopback addresses: clients that look up
    ``localhost`` may try either one.

    Raises SettingsError if the port is taken or the address is not of this machine.
    """
    addresses = _addresses(host)
    for family, address in addresses:
        # SO_REUSEPORT would share the port with another program of this user: ask without it.
        _bind(family, address, port, shared=False).close()
    groups: list[list[socket.socket]] = []
    for _ in range(workers):
        group = [_bind(family, address, port, shared=True) for family, address in addresses]
        for listener in group:
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        groups.append(group)
    return groups


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host in ("127.0.0.1", "localhost"):
        both = [(socket.AF_INET, "127.0.0.1")]
        return both + ([(socket.AF_INET6, "::1")] if _has_ipv6() else [])
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"{host} is no address to listen at: {error.strerror}") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind(family: socket.AddressFamily, address: str, port: int, *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} is taken: stop what uses it, or choose another with --port"
            ) from error
        raise SettingsError(f"cannot listen at {address} port {port}: {error.strerror}") from error
    return listener
