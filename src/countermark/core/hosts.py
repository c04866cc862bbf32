# SPDX-License-Identifier: Apache-2.0
"""Which host names and addresses can only be this machine."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host name or address (no brackets, no port) can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
