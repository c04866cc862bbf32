# SPDX-License-Identifier: Apache-2.0
"""Signature files of every kind: a bundle, several in JSON Lines, or what came before bundles."""

import re

from countermark.client.verify import read_file
from countermark.core.bundle import legacy
from countermark.core.bundle.bundle import MAX_BUNDLE_BYTES, Bundle
from countermark.core.errors import FormatError, RequestRejected

MAX_LINES = 256
MAX_FILE_BYTES = 4 * MAX_BUNDLE_BYTES
_JSON_LINES = ".jsonl"
_SECOND_LINE = re.compile(rb"\}[ \t\r]*\n\s*\{")


def read_signatures(path: str) -> list[Bundle | FormatError]:
    """Every signature in a file, in order; one line of several that is no bundle as its error.

    Raises NotFound, OSError, FormatError for a file that holds nothing else.
    """
    return parse_signatures(read_file(path, MAX_FILE_BYTES), path)


def parse_signatures(data: bytes, path: str) -> list[Bundle | FormatError]:
    """The same of a file that was read."""
    if not (path.endswith(_JSON_LINES) or _is_json_lines(data)):
        return [parse_signature(data)]
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not 1 <= len(lines) <= MAX_LINES:
        raise FormatError(path, f"holds {len(lines)} bundles instead of 1 to {MAX_LINES}")
    return [_tolerant(line) for line in lines]


def parse_signature(data: bytes) -> Bundle:
    """Read a bundle, or cosign's first bundle format. Raises FormatError."""
    if legacy.is_cosign_bundle(data):
        return legacy.parse_cosign_bundle(data)
    return Bundle.parse(data)


def read_detached(
    signature: str,
    certificate: str = "",
    rekor_bundle: str = "",
    timestamp: str = "",
    sct: str = "",
) -> Bundle:
    """Put a bundle together from detached files, named by path; see `legacy.from_parts`.

    The SCT is the JSON that a log answers with (RFC 6962 section 4.1), as cosign keeps it.
    Raises NotFound, OSError, FormatError, RequestRejected without a signature.
    """
    if not signature:
        raise RequestRejected("a certificate, a log's promise or a timestamp alone sign nothing")
    parts = [
        read_file(path, legacy.MAX_LEGACY_BYTES) if path else b""
        for path in (signature, certificate, rekor_bundle, timestamp, sct)
    ]
    if sct:
        from countermark.core.wire.ct import parse_add_chain_reply

        parts[-1] = parse_add_chain_reply(parts[-1]).serialize()
    return legacy.from_parts(*parts)


def _is_json_lines(data: bytes) -> bool:
    # A bundle that is spread over lines holds no object that ends where a line does and is
    # followed by another: there would be a comma.
    return _SECOND_LINE.search(data) is not None


def _tolerant(line: bytes) -> Bundle | FormatError:
    try:
        return parse_signature(line)
    except FormatError as error:
        return error
