# SPDX-License-Identifier: Apache-2.0
"""Somebody elsewhere follows a real instance: keys that rotate, and what it speaks against."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.inside import inside
from tests.support.running import Done, Running

pytestmark = pytest.mark.xdist_group("instance")
ADA, EVE = "ada@example.org", "eve@example.org"


def ours(instance: Running, *arguments: str) -> Any:
    """As whoever runs the instance."""
    done = inside(instance, *arguments, "--json")
    assert done.code == 0, done.err + done.out
    return done.json


def sign(instance: Running, name: str, email: str = ADA) -> Path:
    file = instance.home / name
    file.write_text(name)
    ours(instance, "sign", "--url", instance.url, "--email", email, str(file))
    return file


def test_an_instance_is_followed_from_elsewhere(instance: Running, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "registry")
    first = str(instance.data / "tuf" / "1.root.json")
    data = ("--data", str(instance.data))

    def theirs(*arguments: str) -> Done:
        return inside(instance, *arguments, "--json", COUNTERMARK_HOME=elsewhere)

    def fetch(*more: str) -> Any:
        done = theirs("trust", "fetch", instance.url, *more)
        assert done.code == 0, done.out
        return done.json["instances"][0]

    def verified(file: Path, email: str = ADA) -> str:
        """Empty if it is, else the error."""
        who = ("--identity", email, "--issuer", instance.issuer)
        (result,) = theirs("verify", *who, "--max-trust-age", "1", str(file)).json["results"]
        return "" if result["verified"] else str(result["error"]["code"])

    before, evil = sign(instance, "before"), sign(instance, "evil", EVE)
    assert fetch("--root", first)["changed"]
    assert (verified(before), verified(evil, EVE)) == ("", "")

    # Every key of the instance changes, its TUF keys too.
    for service in ("log", "ca", "tsa", "tuf"):
        ours(instance, "trust", "rotate", service, *data)
        ours(instance, "trust", "rotate", service, "--continue", "--now", *data)
    after = sign(instance, "after")
    assert verified(before) == ""
    assert verified(after) == "inclusion-invalid", "its keys are not known here yet"
    news = fetch()
    assert news["changed"]
    assert news["versions"]["root"] > 1
    assert [verified(file) for file in (before, after)] == ["", ""]

    # It speaks against somebody.
    ours(
        instance,
        *("trust", "distrust", "add", "--identity", EVE, "--issuer", instance.issuer),
        *("--reason", "stolen laptop", *data),
    )
    assert verified(evil, EVE) == "", "what was fetched says nothing of it"
    fetch()
    assert verified(evil, EVE) == "distrusted"
    assert verified(after) == ""
    assert theirs("trust", "doctor").code == 0

    # Nothing of this needs the instance any more.
    merged = str(tmp_path / "merged.json")
    assert theirs("trust", "merge", instance.url, "public", "-o", merged).code == 0
    who = ("--identity", ADA, "--issuer", instance.issuer, "--trusted-root", merged)
    (result,) = theirs("verify", *who, str(after)).json["results"]
    assert result["root"] == f"{merged}: {instance.url}"
    who = ("--identity", EVE, *who[2:])
    (result,) = theirs("verify", *who, str(evil)).json["results"]
    assert result["error"]["code"] == "distrusted"
