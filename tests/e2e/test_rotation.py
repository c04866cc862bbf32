# SPDX-License-Identifier: Apache-2.0
"""`trust rotate` on a running instance: keys change, what was signed holds, everybody is served."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from countermark.rpc.client import PATIENCE_S
from tests.support.inside import inside
from tests.support.running import Running
from tests.support.steady import SteadyClients
from tests.support.tuf import ngclient

pytestmark = pytest.mark.xdist_group("instance")
ADA = "ada@example.org"
SERVICES = ("tsa", "ca", "login", "tuf", "log")
SHOWN_EARLY = ("login", "tuf")  # what is asked here changes with the publication already


def rotated(instance: Running, service: str, *options: str) -> dict[str, Any]:
    done = inside(
        instance, *("trust", "rotate", service, "--data", str(instance.data), "--json", *options)
    )
    assert done.code == 0, done.err + done.out
    (state,) = done.json["services"]
    found: dict[str, Any] = state
    return found


def sign(instance: Running, name: str) -> Path:
    file = instance.home / name
    file.write_text(name)
    done = inside(instance, "sign", "--url", instance.url, "--email", ADA, str(file))
    assert done.code == 0, done.err
    return file


def verify(instance: Running, *files: Path) -> None:
    done = inside(
        instance,
        *("verify", "--trusted-root", str(instance.data / "trust" / "trusted_root.json")),
        *("--identity", ADA, "--issuer", instance.issuer, *map(str, files)),
    )
    assert done.code == 0, done.err


def signer_of(instance: Running, service: str) -> str:
    """What the service says its key is."""
    paths = {
        "ca": "/api/v2/trustBundle",
        "tsa": "/api/v1/timestamp/certchain",
        "login": "/oidc/jwks",
        "log": "/api/v1/log/publicKey",
        "tuf": "/tuf/timestamp.json",
    }
    with urllib.request.urlopen(instance.url + paths[service], timeout=10) as reply:
        data: bytes = reply.read()
    if service == "tuf":
        (signature,) = json.loads(data)["signatures"]
        return str(signature["keyid"])
    return data.decode()


def test_every_key_changes_while_everybody_is_served(instance: Running, tmp_path: Path) -> None:
    first = (instance.data / "tuf" / "1.root.json").read_bytes()
    ngclient(tmp_path / "old", instance.url, first).refresh()
    files = [sign(instance, "before")]
    old_keys = {service: signer_of(instance, service) for service in SERVICES}
    for service in SERVICES:
        with SteadyClients(instance.url) as clients:
            state = rotated(instance, service)
            assert state["rotation"]["step"] == "published"
            assert state["keys"][-1]["state"] == "next"
            assert signer_of(instance, service) == old_keys[service] or service in SHOWN_EARLY
            state = rotated(instance, service, "--continue", "--now")
            assert state["rotation"] is None
        assert signer_of(instance, service) != old_keys[service]
        files.append(sign(instance, f"after-{service}"))
        # Who asks while the keeper starts anew waits for it, as long as anybody waits (on a machine
        # that is very busy, that may not do). When the logs change, what is on its way through a
        # worker at that very moment is refused, with the word to try again.
        for served in (clients.entries, clients.timestamps):
            assert served.count > 0
            assert served.refused == ["503"] * len(served.refused)
            if served.longest_s < PATIENCE_S:
                assert len(served.refused) <= (1 if service == "log" else 0)
    verify(instance, *files)
    for folder, root in ((tmp_path / "old", None), (tmp_path / "new", first)):
        client = ngclient(folder, instance.url, root)
        info = client.get_targetinfo("trusted_root.json")
        assert info is not None
        fetched = Path(client.download_target(info)).read_bytes()
        assert fetched == (instance.data / "trust" / "trusted_root.json").read_bytes()
    done = inside(instance, "trust", "rotate", "--status", "--data", str(instance.data))
    assert (done.code, done.out.count("nothing under way")) == (0, len(SERVICES))


def test_what_is_not_under_way_is_not_gone_on_with(instance: Running) -> None:
    data = ("--data", str(instance.data))
    for wrong in (("tsa", "--continue"), ("tsa", "--abandon"), (), ("tsa", "--abandon", "--now")):
        done = inside(instance, "trust", "rotate", *wrong, *data)
        assert done.code in (2, 78), wrong
    rotated(instance, "tsa")
    again = inside(instance, "trust", "rotate", "tsa", "--new-root", *data)
    assert (again.code, "is under way" in again.err) == (2, True)
    state = rotated(instance, "tsa", "--abandon")
    states = {key["state"] for key in state["keys"]}
    assert "active" in states
    assert "next" not in states
