# SPDX-License-Identifier: Apache-2.0
"""Files with one trusted root or several: which of them a bundle is judged under."""

import json
from pathlib import Path

import pytest

from countermark.client.foreign_roots import Roots
from countermark.core.errors import ChainInvalid, CountermarkError, FormatError
from tests.support.forge import Forge, Plan

ONE, OTHER, THIRD = Forge(), Forge(), Forge()
SHORT = OTHER.trusted_root()._replace(tlogs=(), ctlogs=())


def line(forge: Forge) -> bytes:
    return json.dumps(forge.trusted_root().to_json()).encode()


LINES = b"\n".join((line(ONE), b"", json.dumps(SHORT.to_json()).encode())) + b"\r\n"


@pytest.mark.parametrize("indent", [None, 1])
def test_one_document_however_it_is_laid_out(indent: int | None) -> None:
    data = json.dumps(ONE.trusted_root().to_json(), indent=indent).encode()
    roots = Roots.parse(data, "file")
    assert [root.name for root in roots.roots] == ["file"]
    assert roots.choose(OTHER.bundle()) is roots.roots[0]  # there is no choice: verifying decides


def test_a_bundle_chooses_by_its_logs() -> None:
    roots = Roots.parse(b"\n".join((line(OTHER), line(ONE))), "file")
    assert roots.choose(ONE.bundle()).name == "file, line 2"
    assert roots.choose(OTHER.bundle()).name == "file, line 1"


def test_a_bundle_without_logs_chooses_by_its_issuer() -> None:
    bundle = OTHER.bundle(Plan(scts=0))._replace(tlog_entries=())
    roots = Roots.parse(LINES, "file")
    assert roots.choose(bundle).name == "file, line 2"  # all have one name: the key decides


def test_a_bundle_of_nobody_in_the_file_is_refused() -> None:
    roots = Roots.parse(b"\n".join((line(OTHER), line(ONE))), "file")
    with pytest.raises(ChainInvalid, match="file"):
        roots.choose(THIRD.bundle())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"{}\n{}",
        b"[]\n[]",
        b"\xff\n{",
        b"\n".join([b"{}"] * 33),
        LINES.replace(b'"tlogs"', b'"tlogs": 1, "x"'),
        b"{" * 200_000,
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Roots.parse(data, "file")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "roots.jsonl"
    path.write_bytes(LINES)
    assert len(Roots.from_file(str(path)).roots) == 2
    with pytest.raises(CountermarkError):
        Roots.from_file(str(tmp_path / "absent"))
