# SPDX-License-Identifier: Apache-2.0
"""Answers of the services that give identity tokens to what runs beside them."""

from typing import TypeVar

import msgspec

from countermark.core.errors import FormatError

T = TypeVar("T", bound=msgspec.Struct)


def read_reply(body: bytes, kind: type[T]) -> T:
    """A token service's JSON. Raises FormatError, which shows nothing of it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("CI token", "the token service did not answer as expected") from error
