# SPDX-License-Identifier: Apache-2.0
"""A root ceremony with the command line: keys in files and a PKCS#11 token, a running instance."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tuf.api.exceptions import RepositoryError

from tests.support.inside import inside
from tests.support.running import Done, Running
from tests.support.softhsm import PIN, softhsm
from tests.support.tuf import ngclient

pytestmark = pytest.mark.xdist_group("instance")
SECRET = {"COUNTERMARK_PASSWORD": "secret"}


def run(
    instance: Running,
    *arguments: str,
    code: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Done:
    done = inside(instance, *arguments, **{**SECRET, **environment})
    assert done.code == code, done.err + done.out
    return done


def ceremony(
    instance: Running,
    *arguments: str,
    code: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    command = ("trust", "ceremony", *arguments, "--json")
    return run(instance, *command, code=code, environment=environment).json


def fetch(instance: Running, folder: Path, root: bytes | None) -> bytes:
    client = ngclient(folder, instance.url, root)
    client.refresh()
    info = client.get_targetinfo("trusted_root.json")
    assert info is not None
    return Path(client.download_target(info)).read_bytes()


def test_holders_take_over_and_rotation_needs_them(instance: Running, tmp_path: Path) -> None:
    data = ("--data", str(instance.data))
    published = instance.data / "trust" / "trusted_root.json"
    first = (instance.data / "tuf" / "1.root.json").read_bytes()
    assert fetch(instance, tmp_path / "old", first) == published.read_bytes()

    # The first root key leaves the instance, as its owner was told at the beginning.
    offline = tmp_path / "safe"
    shutil.move(instance.data / "offline", offline)
    passphrase = ("--passphrase-file", str(offline / "passphrase"))
    root_key = ("--key", str(offline / "tuf-root.pem"), *passphrase)
    hsm = softhsm(tmp_path)
    in_token = f"{hsm.token('holders')};object=eve;id=%01"
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    run(instance, "key", "generate", str(tmp_path / "ada"), "--kind", "ed25519")
    run(instance, "key", "generate", str(tmp_path / "bob"))
    run(
        instance,
        *("key", "generate", str(tmp_path / "eve"), "--in", in_token),
        *("--passphrase-file", str(pin)),
        environment=hsm.environment,
    )
    holders = {name: f"{name}={tmp_path / name}.pub" for name in ("ada", "bob", "eve")}
    adding = [part for holder in holders.values() for part in ("--add-root-key", holder)]

    file, copy = str(tmp_path / "next.json"), str(tmp_path / "copy.json")
    begun = ceremony(instance, "start", file, *data, *adding, "--root-threshold", "2")
    assert (begun["from"], begun["to"], begun["complete"]) == (1, 2, False)
    assert [text.partition(" (")[0] for text in begun["changes"]][:3] == [
        *(f"root: {name}" for name in holders),
    ]
    assert len(begun["roles"]["root"]["keys"]) == 4
    ceremony(instance, "start", file, *data, code=2)  # never over another one
    shutil.copy(file, copy)
    ceremony(instance, "sign", file, *root_key)
    ceremony(instance, "finish", file, *data, code=2)
    # Ada and Eve sign their own copy, Eve in her token; neither needs the instance.
    ceremony(instance, "sign", copy, "--key", f"{tmp_path / 'ada'}.key")
    ceremony(instance, "sign", copy, "--key", f"{tmp_path / 'ada'}.key", code=2)
    known = ("--previous-root", str(instance.data / "tuf" / "1.root.json"))
    token = ("--key", in_token, "--passphrase-file", str(pin), *known)
    ceremony(instance, "sign", copy, *token, environment=hsm.environment)
    done = ceremony(instance, "finish", file, copy, *data)
    assert (done["complete"], done["published"]) == (True, True)
    for folder, root in (("old", None), ("new", first)):
        assert fetch(instance, tmp_path / folder, root) == published.read_bytes()

    # Keys cannot be rotated without two of the four any more; with them, they can.
    refused = run(instance, "trust", "rotate", "tuf", *data, code=78)
    assert "countermark trust ceremony start" in refused.err
    for number, threshold in ((3, "2"), (4, "3")):
        file = str(tmp_path / f"root-{number}.json")
        remove = ("--remove-root-key", begun["roles"]["root"]["keys"][0]) if number == 4 else ()
        ceremony(instance, "start", file, *data, "--root-threshold", threshold, *remove)
        tampered = json.loads(Path(file).read_text())
        ceremony(instance, "sign", file, "--key", f"{tmp_path / 'ada'}.key")
        tampered = json.loads(Path(file).read_text())
        tampered["next"]["signed"]["roles"]["root"]["threshold"] = 1
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps(tampered))
        said = ceremony(instance, "sign", str(bad), "--key", f"{tmp_path / 'bob'}.key", code=65)
        assert "changed afterwards" in said["error"]["message"]
        ceremony(instance, "sign", file, "--key", f"{tmp_path / 'bob'}.key")
        if number == 4:
            ceremony(instance, "sign", file, *token[:4], environment=hsm.environment)
        ceremony(instance, "finish", file, *data)
        state = run(
            instance,
            *("trust", "rotate", "tuf", "--continue", "--now", "--json"),
            *data,
            code=78 if number == 3 else 0,
        )
    (tuf,) = state.json["services"]
    assert [key["state"] for key in tuf["keys"]] == ["old", "active"]
    for folder, root in (("old", None), ("late", first)):
        assert fetch(instance, tmp_path / folder, root) == published.read_bytes()
    # The old root key has no say: what it signs alone is no root.
    stranger = tmp_path / "stranger.json"
    ceremony(instance, "start", str(stranger), *data)
    ceremony(instance, "sign", str(stranger), *root_key, code=2)
    roots = sorted(path.name for path in (instance.data / "tuf").glob("*.root.json"))
    assert roots == [f"{number}.root.json" for number in (1, 2, 3, 4)]
    with pytest.raises(RepositoryError):
        fetch(instance, tmp_path / "stranger", b"{}")
