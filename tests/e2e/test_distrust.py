# SPDX-License-Identifier: Apache-2.0
"""`trust distrust` on a running instance: what it names is verified no more, and says why."""

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.certificate import Certificate
from countermark.core.distrust.document import DistrustList
from countermark.core.tlog.merkle import leaf_hash
from tests.support.inside import inside
from tests.support.running import Done, Running
from tests.support.tuf import ngclient

pytestmark = pytest.mark.xdist_group("instance")
ADA = "ada@example.org"


def sign(instance: Running, name: str, email: str = ADA) -> Path:
    file = instance.home / name
    file.write_text(name)
    done = inside(instance, "sign", "--url", instance.url, "--email", email, str(file))
    assert done.code == 0, done.err
    return file


def verify(instance: Running, file: Path, *options: str, email: str = ADA) -> Done:
    return inside(
        instance,
        *("verify", "--json", "--identity", email, "--issuer", instance.issuer),
        *(*options, str(file)),
    )


def verified(instance: Running, file: Path, *options: str, email: str = ADA) -> bool:
    """Whether it is; if not, then because it is distrusted."""
    done = verify(instance, file, *options, email=email)
    (result,) = done.json["results"]
    if done.code == 0:
        return True
    assert (done.code, result["error"]["code"]) == (1, "distrusted"), done.out
    assert "is distrusted" in result["error"]["message"]
    assert "distrust list, version" in result["error"]["hint"]
    return False


def change(instance: Running, *arguments: str, code: int = 0) -> Any:
    done = inside(
        instance, *("trust", "distrust", *arguments, "--data", str(instance.data), "--json")
    )
    assert done.code == code, done.err + done.out
    return done.json


def bundle_of(file: Path) -> Bundle:
    return Bundle.parse(Path(f"{file}.sigstore.json").read_bytes())


def test_every_kind_is_heeded_lifted_logged_and_published(
    instance: Running, tmp_path: Path
) -> None:
    file, other = sign(instance, "file"), sign(instance, "other")
    bundle = bundle_of(file)
    leaf = Certificate.parse(bundle.certificates[0])
    entry = bundle.tlog_entries[0]
    plain_root = ("--trusted-root", str(instance.data / "trust" / "trusted_root.json"))
    named = ("--instance", instance.url)
    first = (instance.data / "tuf" / "1.root.json").read_bytes()
    ngclient(tmp_path / "client", instance.url, first).refresh()

    ways = (
        ("--key", f"sha256:{leaf.public_key.key_id.hex()}"),
        ("--certificate", f"sha256:{hashlib.sha256(leaf.der).hexdigest()}"),
        ("--entry", leaf_hash(entry.canonicalized_body).hex()),
        ("--entry", f"{entry.log_id.hex()}:{entry.log_index}"),
        ("--bundle", f"{file}.sigstore.json"),
    )
    for number, way in enumerate(ways, 1):
        added = change(instance, "add", *way, "--reason", "it leaked", "--by", "bob")
        assert added["version"] == 2 * number
        assert added["entries"][-1]["number"] == number
        assert not verified(instance, file)
        assert not verified(instance, file, *named)
        assert verified(instance, other)
        # A root file alone has no list; one that is named with it is heeded.
        assert verified(instance, file, *plain_root)
        listed = tmp_path / "distrust.json"
        listed.write_bytes((instance.data / "trust" / "distrust.json").read_bytes())
        assert not verified(instance, file, *plain_root, "--distrust", str(listed))
        lifted = change(instance, "remove", str(number), "--reason", "found again")
        assert lifted["entries"][-1]["lifted"]["reason"] == "found again"
        assert verified(instance, file)
    assert "distrust" in {c["check"] for c in verify(instance, file).json["results"][0]["checks"]}

    # Published as a TUF target and plainly; logged under a key of the instance's.
    client = ngclient(tmp_path / "client", instance.url, None)
    info = client.get_targetinfo("distrust.json")
    assert info is not None
    data = Path(client.download_target(info)).read_bytes()
    assert DistrustList.parse(data).version == 11
    for name, content in (("distrust.json", data), ("distrust.json.sigstore.json", None)):
        with urllib.request.urlopen(f"{instance.url}/trust/{name}", timeout=10) as reply:
            served = reply.read()
        assert content is None or served == content
    key = tmp_path / "statements.pub"
    pem = (instance.data / "keys" / "statements.pem").read_text()
    key.write_text(pem[pem.index("-----BEGIN PUBLIC KEY") :])
    done = inside(
        instance,
        *("verify", "--key", str(key), *plain_root, "--bundle"),
        *(str(instance.data / "trust" / "distrust.json.sigstore.json"), str(listed)),
    )
    assert done.code == 1  # an older version of the list
    listed.write_bytes(data)
    done = inside(
        instance,
        *("verify", "--key", str(key), *plain_root, "--bundle"),
        *(str(instance.data / "trust" / "distrust.json.sigstore.json"), str(listed)),
    )
    assert done.code == 0, done.err


def test_it_comes_with_the_trust_root_to_who_follows_it(instance: Running, tmp_path: Path) -> None:
    mallory = "mallory@example.org"
    file = sign(instance, "by-mallory", mallory)
    elsewhere = {"COUNTERMARK_HOME": str(tmp_path / "elsewhere")}

    def fetched() -> None:
        root = ("--root", str(instance.data / "tuf" / "1.root.json"))
        done = inside(instance, "trust", "fetch", instance.url, *root, **elsewhere)
        assert done.code == 0, done.err

    def judged() -> tuple[int, str]:
        done = inside(
            instance,
            *("verify", "--json", "--identity", mallory, "--issuer", instance.issuer),
            *("--instance", instance.url, str(file)),
            **elsewhere,
        )
        (result,) = done.json["results"]
        return done.code, "" if done.code == 0 else result["error"]["code"]

    fetched()
    assert judged() == (0, "")
    added = change(instance, "add", "--identity", mallory, "--reason", "bad person")
    assert judged() == (0, "")  # who does not ask is not told
    fetched()
    assert judged() == (1, "distrusted")
    change(instance, "remove", str(added["entries"][-1]["number"]), "--reason", "better now")
    fetched()
    assert judged() == (0, "")


def test_an_identity_is_distrusted_for_a_while(instance: Running) -> None:
    eve = "eve@example.org"
    file = sign(instance, "by-eve", eve)
    (time,) = {
        item["time"]
        for item in verify(instance, file, email=eve).json["results"][0]["times"]
        if item["source"] == "log"
    }
    for start, end, good in (
        ("2000-01-01T00:00:00Z", "2000-01-02T00:00:00Z", True),
        ("2999-01-01T00:00:00Z", "", True),
        (time, time, False),  # both ends belong to it
        ("", time, False),
        (time, "", False),
    ):
        window = (*(("--from", start) if start else ()), *(("--until", end) if end else ()))
        who = ("--identity", "EVE@example.org", "--issuer", instance.issuer)
        added = change(instance, "add", *who, *window, "--reason", "stolen laptop")
        assert verified(instance, file, email=eve) is good
        number = str(added["entries"][-1]["number"])
        change(instance, "remove", number, "--reason", "for the next one")
    assert verified(instance, file, email=eve)


def test_an_authority_without_which_nothing_holds(instance: Running) -> None:
    file = sign(instance, "file-of-an-authority")
    root = json.loads((instance.data / "trust" / "trusted_root.json").read_bytes())
    chains = [
        root[kind][0]["certChain"] for kind in ("certificateAuthorities", "timestampAuthorities")
    ]
    keys = [Certificate.parse(_der(chain)).public_key.key_id.hex() for chain in chains]
    keys.append(bundle_of(file).tlog_entries[0].log_id.hex())
    for key in keys:
        added = change(instance, "add", "--key", f"sha256:{key}", "--reason", "it leaked")
        assert not verified(instance, file)
        number = str(added["entries"][-1]["number"])
        change(instance, "remove", number, "--reason", "for the next one")
    assert verified(instance, file)


def test_what_cannot_be_said_is_refused(instance: Running) -> None:
    before = (instance.data / "trust" / "distrust.json").read_bytes()
    reason = ("--reason", "bad")
    for wrong in (
        ("add", *reason),
        ("add", "--key", "sha256:00", *reason),
        ("add", "--identity", "a@b.c", "--package", "pkg:npm/a@1", *reason),
        ("add", "--package", "pkg:npm/a", *reason),
        ("add", "--identity", "a@b.c", "--reason", "two\nlines"),
        ("add", "--identity", "a@b.c", "--reason", "x" * 2000),
        (
            "add",
            "--identity",
            "a@b.c",
            "--from",
            "2026-01-02T00:00:00Z",
            "--until",
            "2026-01-01T00:00:00Z",
            *reason,
        ),
        ("remove", "999", *reason),
    ):
        done = inside(instance, "trust", "distrust", *wrong, "--data", str(instance.data))
        assert done.code in (2, 65), wrong
    assert (instance.data / "trust" / "distrust.json").read_bytes() == before


def _der(chain: dict[str, Any]) -> bytes:
    from base64 import b64decode

    return b64decode(chain["certificates"][0]["rawBytes"])
