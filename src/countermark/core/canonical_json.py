# SPDX-License-Identifier: Apache-2.0
"""RFC 8785 (JCS) for the values that are hashed and signed: no floats, integers below 2**53.

Log entry bodies, SET payloads and in-toto statements of ours are written with it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from countermark.core.errors import FormatError

JSON: TypeAlias = "bool | int | str | Sequence[JSON] | Mapping[str, JSON] | None"

_MAX_EXACT = 2**53 - 1


def canonical_json(value: JSON) -> bytes:
    """Serialize in JCS form: sorted keys (UTF-16 order), no spaces, minimal escapes, UTF-8.

    Raises FormatError for floats, integers that a double cannot hold, lone surrogates and
    keys that are not text.
    """
    try:
        return json.dumps(
            _ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("JSON text", "holds a lone surrogate") from error
    except RecursionError as error:
        raise FormatError("JSON value", "is nested too deeply") from error


def _ordered(value: JSON) -> JSON:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -_MAX_EXACT <= value <= _MAX_EXACT:
            raise FormatError("JSON number", f"{value} has no exact form")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise FormatError("JSON object", "has a key that is not text")
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_ordered(item) for item in value]
    raise FormatError("JSON value", f"{type(value).__name__} has no canonical form")
