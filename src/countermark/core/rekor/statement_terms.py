# SPDX-License-Identifier: Apache-2.0
"""What an entry can be found by that only the signed statement tells; the log does not keep it."""

from collections.abc import Iterator
from typing import Final

import msgspec

from countermark.core.rekor.entry import MAX_SEARCH_KEYS, EntryRejected

_MAX_ELEMENTS: Final = 4 * MAX_SEARCH_KEYS


class _Described(msgspec.Struct):
    digest: dict[str, str] | None = None


class _Statement(msgspec.Struct):
    subject: msgspec.Raw = msgspec.Raw(b"null")


class _Predicate(msgspec.Struct):
    materials: msgspec.Raw = msgspec.Raw(b"null")


class _Provenance(msgspec.Struct):
    predicate: _Predicate | None = None


_decode_statement = msgspec.json.Decoder(_Statement).decode
_decode_provenance = msgspec.json.Decoder(_Provenance).decode
_decode_described = msgspec.json.Decoder(list[_Described] | None).decode


def statement_terms(payload: bytes) -> Iterator[str]:
    """``algorithm:value`` of every subject and material of an in-toto statement.

    None of a payload that is no statement. Raises EntryRejected for one that lists too much.
    """
    try:
        yield from _digests(_decode_statement(payload).subject)
        predicate = _decode_provenance(payload).predicate
        if predicate:
            yield from _digests(predicate.materials)
    except (ValueError, RecursionError):
        return


def _digests(described: msgspec.Raw) -> Iterator[str]:
    if bytes(described).count(b",") > _MAX_ELEMENTS:
        raise EntryRejected(f"the statement lists more than {_MAX_ELEMENTS} elements")
    for item in _decode_described(described) or ():
        for algorithm, value in (item.digest or {}).items():
            yield f"{algorithm}:{value}"
