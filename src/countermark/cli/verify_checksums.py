# SPDX-License-Identifier: Apache-2.0
"""`countermark verify --checksums`: a signed listing, and the files that it speaks for.

On the path of `verify`, imported for this option only.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from countermark.cli.arguments import printable
from countermark.cli.exits import OK, exit_code
from countermark.cli.output import Output, describe
from countermark.client.checksums import (
    MAX_BYTES,
    Listed,
    check_listed,
    find_listed,
    parse_checksums,
    path_of,
)
from countermark.client.verify import FileArtifact, read_file
from countermark.core.errors import CountermarkError, NotFound, RequestRejected
from countermark.core.verify.artifact import Artifact, BytesArtifact

Result: TypeAlias = tuple[dict[str, Any], int]


def verify_listed(
    listing: str,
    files: Sequence[str],
    output: Output,
    verify: Callable[[Artifact], Result],
    *,
    ignore_missing: bool,
) -> list[Result]:
    """Verify a listing, then the files that it lists: those named, or all.

    Args:
        listing: path of the checksum file.
        files: paths; each must be listed.
        output: where results go.
        verify: verifies the listing's own signature, given what it holds.
        ignore_missing: pass over listed files that are not there, if others are.
    """
    try:
        data = read_file(listing, MAX_BYTES)
    except CountermarkError as error:
        return [_failed(listing, error, output)]
    except OSError as error:
        reason = RequestRejected(f"{listing} cannot be read: {error.strerror}")
        return [_failed(listing, reason, output)]
    # These very bytes are verified and then read, whatever becomes of the file meanwhile.
    result, code = verify(BytesArtifact(data))
    if code:
        return [(result, code)]
    try:
        entries = parse_checksums(data)
    except CountermarkError as error:
        return [(result, code), _failed(listing, error, output)]
    results: list[Result] = [(result, code)]
    passed_over = 0
    for path, entry in _wanted(entries, listing, files):
        if ignore_missing and not files and not os.path.lexists(path):
            passed_over += 1
            continue
        results.append(_check(path, entry, entries, listing, output))
    if passed_over and len(results) == 1:
        nothing = NotFound(f"none of the files listed in {listing} is there")
        results.append(_failed(listing, nothing, output))
    elif passed_over:
        output.line(printable(f"{listing}: {passed_over} listed files are not there"))
    return results


def _wanted(
    entries: Sequence[Listed], listing: str, files: Sequence[str]
) -> list[tuple[str, Listed | None]]:
    if files:
        return [(file, None) for file in files]
    return [(path_of(entry, listing), entry) for entry in entries]


def _check(
    path: str, entry: Listed | None, entries: Sequence[Listed], listing: str, output: Output
) -> Result:
    try:
        entry = entry or find_listed(entries, listing, path)
        if not os.path.exists(path):
            raise NotFound(f"it is listed in {listing}, but there is no file {path}")
        with output.progress(f"hashing {path}", os.path.getsize(path)) as ticker:
            check_listed(entry, FileArtifact(path, ticker.advance))
    except CountermarkError as error:
        return _failed(path, error, output)
    except OSError as error:
        reason = RequestRejected(f"{path} cannot be read: {error.strerror}")
        return _failed(path, reason, output)
    output.line(printable(f"{path}: verified, as listed in {listing}"))
    digests = {name: digest.hex() for name, digest in entry.digests.items()}
    listed = {"listing": listing, "name": entry.name, "digests": digests}
    return {"file": path, "verified": True, "listed": listed}, OK


def _failed(name: str, error: CountermarkError, output: Output) -> Result:
    message, hint = describe(error)
    code = exit_code(error)
    if not output.as_json:
        print(printable(f"{name}: NOT verified: {message}"), file=sys.stderr)
        if hint:
            print(f"  {printable(hint)}", file=sys.stderr)
    fault = {"code": error.code, "message": message, "hint": hint, "exit": code}
    return {"file": name, "verified": False, "error": fault}, code
