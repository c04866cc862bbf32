# SPDX-License-Identifier: Apache-2.0
"""What `countermark login` remembers, in the 0600 file `logins.json`: an e-mail address each.

Only for instances of this machine, whose development login believes every address. Identity
tokens are never written to a disk.
"""

import json
import os
from typing import Any

from countermark.client.instances import (
    home_dir,
    locked_home,
    read_private_file,
    write_private_file,
)
from countermark.core.errors import FormatError

_VERSION = 2
_MAX_LOGINS = 64


def load_email(instance: str) -> str:
    """The address this user has at the instance so addressed, or "". Raises FormatError."""
    return _load().get(instance, "")


def save_email(instance: str, email: str) -> None:
    """Remember an address, in place of any other for that instance."""
    with locked_home() as home:
        emails = {instance: email, **{k: v for k, v in _load().items() if k != instance}}
        _write(home, dict(list(emails.items())[:_MAX_LOGINS]))


def forget_email(instance: str) -> bool:
    """Forget it; says whether there was anything to forget."""
    with locked_home() as home:
        emails = _load()
        known = emails.pop(instance, None) is not None
        if known:
            _write(home, emails)
    return known


def _write(home: str, emails: dict[str, str]) -> None:
    document = {"version": _VERSION, "emails": emails}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_private_file(os.path.join(home, "logins.json"), text.encode("utf-8"))


def _load() -> dict[str, str]:
    data = read_private_file(os.path.join(home_dir(), "logins.json"))
    if data is None:
        return {}
    try:
        document: Any = json.loads(data)
        emails = document["emails"] if document["version"] == _VERSION else {}
        if not all(isinstance(email, str) for email in emails.values()):
            raise TypeError("email")
        return dict(emails)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError("logins.json", "is damaged; `countermark login` again") from error
