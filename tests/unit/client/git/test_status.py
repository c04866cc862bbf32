# SPDX-License-Identifier: Apache-2.0
"""Status lines: no name that a certificate may hold can make one."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from countermark.client.ephemeral import EphemeralKey
from countermark.client.git.status import StatusWriter, escaped

KEY = EphemeralKey().public_key
TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def said(speak: Callable[[StatusWriter], None]) -> str:
    reader, writer = os.pipe()
    try:
        speak(StatusWriter(writer))
        return os.read(reader, 65536).decode()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_good_signature() -> None:
    text = said(lambda to: to.good(KEY, "ab" * 32, "me@example.org", TIME, expected=True))
    assert text.splitlines() == [
        f"[GNUPG:] GOODSIG {'ab' * 32} me@example.org",
        f"[GNUPG:] VALIDSIG {'ab' * 32} 2026-03-04 1772600767 0 4 0 19 8 00 {'ab' * 32}",
        "[GNUPG:] TRUST_FULLY 0 shell",
    ]
    unexpected = said(lambda to: to.good(KEY, "ab", "me", TIME, expected=False))
    assert unexpected.splitlines()[2] == "[GNUPG:] TRUST_UNDEFINED 0 shell"


def test_others() -> None:
    assert said(lambda to: to.bad("ab", "me")).splitlines()[0] == "[GNUPG:] BADSIG ab me"
    assert said(lambda to: to.unverifiable("")).startswith("[GNUPG:] ERRSIG 0000000000000000 0 0")
    created = said(lambda to: to.created(KEY, "ab", TIME))
    assert created == "[GNUPG:] SIG_CREATED D 19 8 00 1772600767 ab\n"
    assert said(StatusWriter.new_signature) == "[GNUPG:] NEWSIG\n"
    StatusWriter(None).new_signature()


@given(st.text())
def test_no_name_makes_a_line(name: str) -> None:
    text = said(lambda to: to.bad("ab", name + "\n[GNUPG:] GOODSIG ab somebody"))
    assert [line.split(" ")[1] for line in text.splitlines()] == ["BADSIG", "TRUST_NEVER"]


def test_names_of_people_stay_readable() -> None:
    assert escaped("me@example.org") == "me@example.org"
    assert escaped("https://github.com/o/r/.github/w.yml@refs/heads/main") == (
        "https://github.com/o/r/.github/w.yml@refs/heads/main"
    )
    assert escaped("Zoë\u202e%\n\x1b") == "Zoë%E2%80%AE%25%0A%1B"
