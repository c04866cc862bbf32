# SPDX-License-Identifier: Apache-2.0
"""The page of all clients: what is compared, and that it names the versions that are installed."""

import json
import re
from pathlib import Path

import pytest

from tests.support.matrix import PAGE, PROPERTY, Deed, Kind, Matrix, differences, parse, render

ROOT = Path(__file__).parents[2]
SIGNED = Deed("cosign", "3.1.3", Kind.SIGNED, "`sign-blob` by files")
REFUSED = Deed("cosign", "3.1.3", Kind.REFUSED, "changed file")
OTHER = Deed("rekor-cli", "1.5.4", Kind.ALSO, "`get` by UUID, and by index")


def test_what_is_written_can_be_read() -> None:
    deeds = {SIGNED, REFUSED, OTHER}
    assert parse(render(deeds)) == deeds
    assert parse(render(())) == set()
    assert parse(PAGE.read_text())


def test_differences() -> None:
    assert differences({SIGNED}, {SIGNED}, whole=True) == []
    assert differences({SIGNED}, {SIGNED, REFUSED}, whole=False) == []
    (missing,) = differences({SIGNED}, {SIGNED, REFUSED}, whole=True)
    assert missing == "on the page, but not done: cosign 3.1.3: refused changed file"
    (new,) = differences({SIGNED, OTHER}, {SIGNED}, whole=False)
    assert new == "not on the page: rekor-cli 1.5.4: also `get` by UUID, and by index"
    newer = SIGNED._replace(version="3.2.0")
    assert len(differences({newer}, {SIGNED}, whole=True)) == 2


def report_of(deed: Deed) -> pytest.TestReport:
    where = ("tests/x.py::x", ("tests/x.py", 1, "x"))
    did = [(PROPERTY, "\t".join(deed.encode()))]
    return pytest.TestReport(*where, {}, "passed", None, "call", user_properties=did)


def test_a_run_that_did_something_else_fails(tmp_path: Path) -> None:
    page = tmp_path / "clients.md"

    def run(*deeds: Deed, write: bool = False) -> bool:
        matrix = Matrix(page, write=write, whole=True)
        for deed in deeds:
            matrix.pytest_runtest_logreport(report_of(deed))
        return matrix.judge()

    assert not run(SIGNED, REFUSED)
    assert run(SIGNED, REFUSED, write=True)
    assert run(REFUSED, SIGNED)
    assert not run(SIGNED)
    assert not run(SIGNED, REFUSED, OTHER)


def test_a_partial_run_writes_nothing(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path / "clients.md", write=True, whole=False)
    matrix.pytest_runtest_logreport(report_of(SIGNED))
    assert not matrix.judge()
    assert not list(tmp_path.iterdir())


def test_the_page_names_what_is_installed() -> None:
    on_page = {(deed.client.strip("`"), deed.version) for deed in parse(PAGE.read_text())}
    pinned = set()
    for line in (ROOT / "requirements/peers-go.txt").read_text().splitlines():
        program, _, version = line.rpartition("/")[2].partition("@v")
        pinned.add((program, version))
    for folder in ("peers-js", "peers-js-older"):
        wanted = json.loads((ROOT / f"requirements/{folder}/package.json").read_text())
        locked = json.loads((ROOT / f"requirements/{folder}/package-lock.json").read_text())
        for name, version in wanted["dependencies"].items():
            assert locked["packages"][f"node_modules/{name}"]["version"] == version
            pinned.add((name, version))
    for name, file in (("sigstore", "peers"), ("tuf", "dev")):
        found = re.search(rf"^{name}==(\S+)", (ROOT / f"requirements/{file}.txt").read_text(), re.M)
        assert found is not None
        pinned.add((name, found[1]))
    names = {"sigstore-js": "sigstore", "sigstore-python": "sigstore", "python-tuf": "tuf"}
    said = {(names.get(name, name), version) for name, version in on_page}
    assert said - {("openssl ts", "3")} == pinned
