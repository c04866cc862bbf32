# SPDX-License-Identifier: Apache-2.0
"""What all versions of one artifact are called: ``app-1.2.3.tar.gz`` is ``app-*.tar.gz``."""

import re

# Each part begins with its separator or ends the one before: nothing can be read in two ways.
_PRE = "(?:alpha|beta|canary|dev|next|nightly|post|pre|preview|rc|snapshot)"
_TAIL = (
    rf"(?:[-._~]{_PRE}(?:[-.]?[0-9]+)?(?![0-9A-Za-z])"
    r"|[-~][0-9]+(?:\.[0-9]+)*+(?![0-9A-Za-z])"
    r"|\+[0-9A-Za-z]+)*+"
)
_FORMS = tuple(
    re.compile(form + _TAIL, re.ASCII)
    for form in (
        # 1.2.3, v1.2.3, 1.2.3rc1
        r"(?:(?<![0-9A-Za-z.])|(?<=[A-Za-z]\.))[vV]?[0-9]+(?:\.[0-9]+)+(?:(?:a|b|c|dev|p|post|r|rc)[0-9]+)?"
        r"(?![0-9A-Za-z])",
        # 2026-11-22
        r"(?<=[-_])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9A-Za-z])",
        # v2, -2, -20261122
        r"(?:(?<=[-_@])[vV]|(?<=[-@]))[0-9]+(?![0-9A-Za-z])",
    )
)
_LETTER = re.compile(r"[^\W\d_]")
_MAX_CHARS = 1024


def without_version(name: str) -> str:
    """A file's name with ``*`` for its version; as it is if no version is seen in it.

    What is nothing but a version (``v1.2.3.tar.gz``) stays as it is: it would be any project's.
    """
    if len(name) > _MAX_CHARS:
        return name
    for form in _FORMS:
        match = form.search(name)
        if match is None:
            continue
        before, after = name[: match.start()], name[match.end() :]
        return f"{before}*{after}" if _LETTER.search(before) else name
    return name
