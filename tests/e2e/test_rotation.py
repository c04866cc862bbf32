# SPDX-License-Identifier: Apache-2.0
"""`trust rotate` on a running instance: keys change, and what was signed goes on to hold."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Running

pytestmark = pytest.mark.xdist_group("instance")
ADA = "ada@example.org"


def rotated(instance: Running, service: str, *options: str) -> dict[str, Any]:
    done = instance.countermark(
        *("trust", "rotate", service, "--data", str(instance.data), "--json", *options)
    )
    assert done.code == 0, done.err + done.out
    (state,) = done.json["services"]
    found: dict[str, Any] = state
    return found


def sign(instance: Running, name: str) -> Path:
    file = instance.home / name
    file.write_text(name)
    done = instance.countermark("sign", "--url", instance.url, "--email", ADA, str(file))
    assert done.code == 0, done.err
    return file


def verify(instance: Running, file: Path) -> None:
    done = instance.countermark(
        *("verify", "--trusted-root", str(instance.data / "trust" / "trusted_root.json")),
        *("--identity", ADA, "--issuer", instance.issuer, str(file)),
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize("service", ["tsa", "ca", "login", "tuf", "log"])
def test_everything_goes_on_with_the_next_key(instance: Running, service: str) -> None:
    before = sign(instance, f"before-{service}")
    state = rotated(instance, service)
    assert state["rotation"]["step"] == "published"
    between = sign(instance, f"between-{service}")
    state = rotated(instance, service, "--continue", "--now")
    assert state["rotation"] is None
    after = sign(instance, f"after-{service}")
    for file in (before, between, after):
        verify(instance, file)
