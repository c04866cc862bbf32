# SPDX-License-Identifier: Apache-2.0
"""What talking to the key services has in common: JSON over HTTPS, and whose fault it is."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from countermark.client.transport import Reply, Transport, check, is_loopback
from countermark.core.encoding import from_base64
from countermark.core.errors import (
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)

TIMEOUT_S = 15.0


class Service:
    """One key service: its base URL, and headers that say who asks."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        token: Callable[[], str] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            name: as a person would call it.
            url: base URL without a slash at its end.
            headers: sent with every request.
            token: gives the bearer token for a request, a new one when the last has ended.
        """
        self.name = name
        self._url = url
        self._fixed = {"Accept": "application/json", **headers}
        self._token = token
        self._transport = Transport(timeout_s=TIMEOUT_S)

    def get(self, path: str) -> dict[str, Any]:
        """GET an object. Raises NotFound, RequestRejected, Unavailable, FormatError."""
        try:
            reply = self._transport.get(self._url + path, self.name, headers=self._headers())
        except UpstreamDown as error:
            raise _plain(error) from error
        return self._read(reply)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST an object and get one. Raises as `get` does."""
        data = json.dumps(body).encode("utf-8")
        try:
            reply = self._transport.post(
                self._url + path,
                self.name,
                data,
                content_type="application/json",
                headers=self._headers(),
            )
        except UpstreamDown as error:
            raise _plain(error) from error
        return self._read(reply)

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            return self._fixed
        return {**self._fixed, "Authorization": f"Bearer {self._token()}"}

    def _read(self, reply: Reply) -> dict[str, Any]:
        tree: Any = None
        try:
            tree = json.loads(reply.body) if reply.body else {}
        except (ValueError, RecursionError) as error:
            if 200 <= reply.status < 300:
                raise FormatError(f"reply of {self.name}", "is not JSON") from error
        message = _message(tree)
        if reply.status == 404:
            raise NotFound(f"{self.name} knows no such key" + (f": {message}" if message else ""))
        check(reply, self.name, message)
        if not isinstance(tree, dict):
            raise FormatError(f"reply of {self.name}", "is not a JSON object")
        return tree

    def text(self, tree: Mapping[str, Any], *path: str) -> str:
        """A text in a reply, by the names that lead to it. Raises FormatError."""
        value: Any = tree
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value:
            raise FormatError(f"reply of {self.name}", f"gives no {'.'.join(path)}")
        return value

    def base64(self, tree: Mapping[str, Any], *path: str) -> bytes:
        """Bytes in a reply, in standard base64. Raises FormatError."""
        return from_base64(self.text(tree, *path), f"{path[-1]} of {self.name}")


def service_url(host: str) -> str:
    """The base URL of a service that a reference names by host: https, but for this machine."""
    name = host.rpartition(":")[0] or host
    return f"{'http' if is_loopback(name.strip('[]')) else 'https'}://{host}"


def missing_extra(service: str) -> SettingsError:
    """The error for a library that is not installed."""
    error = SettingsError(f"signing with {service} needs libraries that are not installed")
    error.add_note("pip install 'countermark[kms]'")
    return error


def odd_reference(reference: str, form: str) -> RequestRejected:
    """The error for a reference that does not have its service's form."""
    error = RequestRejected(f"{reference[:200]!r} names no key")
    error.add_note(f"write it as {form}")
    return error


def _plain(error: UpstreamDown) -> UpstreamDown:
    """Without advice that fits our own services only."""
    plain = type(error)(str(error))
    for note in getattr(error, "__notes__", ()):
        if "countermark up" not in note:
            plain.add_note(note)
    return plain


def _message(tree: object) -> str:
    """The service's own words, where each of them puts these."""
    if not isinstance(tree, dict):
        return ""
    errors, error = tree.get("errors"), tree.get("error")
    if isinstance(errors, list):
        return "; ".join(item for item in errors if isinstance(item, str))[:300]
    if isinstance(error, dict):
        return str(error.get("message", ""))[:300]
    return ""
