# SPDX-License-Identifier: Apache-2.0
"""What `countermark login` remembers, per instance, in the 0600 file `logins.json`.

For an instance of this machine that is the e-mail address, since a token is had at any time;
for every other it is the identity token itself, which its issuer lets live for minutes.
"""

import json
import os
from typing import Any, NamedTuple

from countermark.client.instances import (
    home_dir,
    locked_home,
    read_private_file,
    write_private_file,
)
from countermark.core.errors import FormatError

_VERSION = 1
_MAX_LOGINS = 64


class Login(NamedTuple):
    """Who this user is at one instance: an address to ask a token for, or a token."""

    email: str = ""
    token: str = ""


def load_login(instance: str) -> Login | None:
    """What is remembered for the instance named or addressed so. Raises FormatError."""
    return _load().get(instance)


def save_login(instance: str, login: Login) -> None:
    """Remember `login`, in place of any other for that instance."""
    with locked_home() as home:
        logins = {instance: login, **{k: v for k, v in _load().items() if k != instance}}
        _write(home, dict(list(logins.items())[:_MAX_LOGINS]))


def forget_login(instance: str) -> bool:
    """Forget it; says whether there was anything to forget."""
    with locked_home() as home:
        logins = _load()
        known = logins.pop(instance, None) is not None
        if known:
            _write(home, logins)
    return known


def _write(home: str, logins: dict[str, Login]) -> None:
    document = {
        "version": _VERSION,
        "logins": {name: login._asdict() for name, login in logins.items()},
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_private_file(os.path.join(home, "logins.json"), text.encode("utf-8"))


def _load() -> dict[str, Login]:
    data = read_private_file(os.path.join(home_dir(), "logins.json"))
    if data is None:
        return {}
    try:
        document: Any = json.loads(data)
        items = document["logins"].items() if document["version"] == _VERSION else ()
        return {name: _login(item) for name, item in items}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError("logins.json", "is damaged; `countermark login` again") from error


def _login(item: dict[str, Any]) -> Login:
    email, token = item["email"], item["token"]
    if not isinstance(email, str) or not isinstance(token, str):
        raise TypeError("login")
    return Login(email, token)
