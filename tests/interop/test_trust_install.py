# SPDX-License-Identifier: Apache-2.0
"""`countermark trust install` sets real clients up in a home of their own, and takes all back.

The person here did not bring the instance up: its root was fetched through TUF from a root file,
as it would be from somebody else's instance.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.inside import inside
from tests.support.matrix import Kind
from tests.support.peers import ADA, BOB, TOOLS, Did, Ours, Recorder, installed, on_path
from tests.support.running import Done, Running

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("trust-install")]
# Nobody may ask the public instance.
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "localhost"}


@dataclass(frozen=True)
class Person:
    """Somebody with an empty home, who trusts the instance through TUF alone."""

    ours: Ours
    home: Path
    registry: Path

    @property
    def instance(self) -> Running:
        return self.ours.instance

    def run(self, *command: str, stdin: str = "", **environment: str) -> Done:
        changes = {"HOME": str(self.home), "COUNTERMARK_HOME": str(self.registry)}
        return self.instance.run(*command, stdin=stdin, **changes, **NOWHERE, **environment)

    def countermark(self, *arguments: str) -> Done:
        home = {"HOME": str(self.home), "COUNTERMARK_HOME": str(self.registry)}
        return inside(self.instance, *arguments, **home, **NOWHERE)

    def trust(self, *arguments: str) -> Done:
        done = self.countermark("trust", *arguments)
        assert done.code == 0, done.out + done.err
        return done

    def doctor(self, client: str) -> Done:
        return self.countermark("trust", "doctor", "--for", client, "--json")

    def who(self, identity: str = ADA) -> tuple[str, ...]:
        issuer = self.instance.issuer
        return ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer)


@pytest.fixture
def person(ours: Ours, tmp_path: Path) -> Person:
    home = tmp_path / "home"
    home.mkdir()
    (home / "own file").write_text("mine")
    somebody = Person(ours, home, tmp_path / "registry")
    _, root = ours.tuf
    somebody.trust("fetch", ours.instance.url, "--root", root)
    return somebody


@pytest.fixture(autouse=True)
def untouched(person: Person) -> Iterator[None]:
    """Whatever was done: after `uninstall` the home is as it was, byte for byte."""
    before = snapshot(person.home)
    yield
    assert snapshot(person.home) == before


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    found: dict[str, tuple[int, bytes]] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content = b""
        if stat.S_ISLNK(mode):
            content = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (mode, content)
    return found


def test_cosign(person: Person, recorder: Recorder) -> None:
    cosign = installed("go", "cosign")
    person.trust("install", "--for", "cosign")
    file = person.ours.file()
    bundle = f"{file}.cosign.json"
    signed = person.run(
        *(cosign, "sign-blob", "--yes", "--identity-token", person.ours.token()),
        *("--bundle", bundle, str(file)),
    )
    assert signed.code == 0, signed.err
    verify = (cosign, "verify-blob", "--bundle", bundle)
    done = person.run(*verify, *person.who(), str(file))
    assert (done.code, done.err.splitlines()[-1:]) == (0, ["Verified OK"]), done.err
    assert person.run(*verify, *person.who(BOB), str(file)).code != 0
    person.ours.believes(file, Path(bundle))
    assert person.doctor("cosign").code == 0
    person.trust("uninstall", "--for", "cosign")
    version = person.run(cosign, "version", "--json").json["gitVersion"].removeprefix("v")
    did: Did = recorder("cosign", version)
    did(Kind.ALSO, "`sign-blob` and `verify-blob` after `countermark trust install`")


def test_sigstore_python(person: Person, sigstore: str, recorder: Recorder) -> None:
    person.trust("install", "--for", "python")
    there = (sigstore, "--instance", f"{person.instance.url}/tuf")
    file = person.ours.file()
    token = person.ours.token()
    signed = person.run(*there, "sign", "--identity-token", token, str(file))
    assert signed.code == 0, signed.err
    issuer = ("--cert-oidc-issuer", person.instance.issuer)
    verify = (*there, "verify", "identity", *issuer, "--cert-identity")
    assert person.run(*verify, ADA, str(file)).code == 0
    assert person.run(*verify, BOB, str(file)).code == 1
    person.ours.believes(file, Path(f"{file}.sigstore.json"))
    assert person.doctor("python").code == 0
    person.trust("uninstall", "--for", "python")
    version = person.run(sigstore, "--version").out.split()[-1]
    recorder("sigstore-python", version)(
        Kind.ALSO, "`sign` and `verify` after `countermark trust install`"
    )


def test_sigstore_js(person: Person, recorder: Recorder) -> None:
    command = installed("sigstore-js-older", "node_modules", ".bin", "sigstore")
    on_path("node")
    person.trust("install", "--for", "js")
    file = person.ours.file()
    bundle = person.ours.sign(file)
    issuer = ("--certificate-issuer", person.instance.issuer)
    verify = (command, "verify", "--tuf-mirror-url", f"{person.instance.url}/tuf", *issuer)
    more = ("--blob-file", str(file), str(bundle))
    done = person.run(*verify, "--certificate-identity-email", ADA, *more)
    assert (done.code, "Verification succeeded" in done.err) == (0, True), done.out + done.err
    assert person.run(*verify, "--certificate-identity-email", BOB, *more).code != 0
    assert person.doctor("js").code == 0
    person.trust("uninstall", "--for", "js")
    version = person.run(command, "--version").out.split()[0].rpartition("/")[2]
    recorder("`@sigstore/cli`", version)(Kind.ALSO, "`verify` after `countermark trust install`")


def test_sigstore_js_as_a_library(person: Person, recorder: Recorder) -> None:
    node = installed("sigstore-js", "node_modules", ".bin", "node")
    modules = {"NODE_PATH": str(TOOLS / "sigstore-js" / "node_modules")}
    script = str(Path(__file__).with_name("sigstore_js.cjs"))
    person.trust("install", "--for", "js")
    bundle = person.ours.sign(person.ours.file())

    def ask(do: str, **fields: object) -> Done:
        return person.run(node, script, stdin=json.dumps({"do": do, **fields}), **modules)

    def verify(identity: str) -> Done:
        policy = {
            "certificateIdentityEmail": f"^{identity}$",
            "certificateIssuer": person.instance.issuer,
        }
        mirror = f"{person.instance.url}/tuf"
        file = str(bundle).removesuffix(".sigstore.json")
        return ask("verify", bundle=str(bundle), file=file, policy=policy, mirror=mirror)

    done = verify(ADA)
    assert done.code == 0, done.out + done.err
    assert done.json == {"san": ADA, "issuer": person.instance.issuer}
    assert verify(BOB).code == 1
    assert person.doctor("js").code == 0
    person.trust("uninstall", "--for", "js")
    version = ask("version").json
    recorder("sigstore-js", version)(Kind.ALSO, "`verify` after `countermark trust install`")


def test_clients_that_are_not_there_or_cannot_be_told(person: Person) -> None:
    """Whatever is installed here, the doctor has something true to say, and nothing is written."""
    for client in ("npm", "go"):
        assert person.doctor(client).code == 0
    person.trust("install", "--for", "gitsign")
    done = person.doctor("gitsign")
    assert not [item for item in done.json["findings"] if item["grade"] == "error"]
    person.trust("uninstall", "--for", "gitsign")
    done = person.doctor("cosign")
    assert done.code == 78
    assert any("install --for cosign" in finding["todo"] for finding in done.json["findings"])


def test_countermark_itself_needs_no_more_than_the_fetch(person: Person) -> None:
    file = person.ours.file()
    token = person.ours.file(person.ours.token(), "token")
    url = person.instance.url
    signed = person.countermark(
        *("sign", "--url", url, "--identity-token-file", str(token), str(file))
    )
    assert signed.code == 0, signed.err
    who = ("--identity", ADA, "--issuer", person.instance.issuer)
    done = person.countermark("verify", "--json", "--max-trust-age", "1", *who, str(file))
    assert done.code == 0, done.out + done.err
    assert done.json["results"][0]["root"] == url
    person.ours.believes(file, Path(f"{file}.sigstore.json"))
