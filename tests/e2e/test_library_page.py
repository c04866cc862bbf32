# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/reference/library.md run: here, and where only the base is installed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.running import Running, running

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/library.md"
_URL = "http://localhost:7446"
# What a server needs, and a base installation must do without.
_SERVER = ("jwt", "httptools", "jinja2", "rocksdict", "starlette", "uvicorn", "uvloop")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("instance")) as up:
        yield up


def _script(instance: Running, folder: Path) -> Path:
    """All examples of the page as one program, which lies in a folder made as the page says."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    (folder / "app.tar.gz").write_bytes(os.urandom(3_000_000))
    shutil.copy(instance.data / "trust" / "trusted_root.json", folder)
    # A process that is spawned imports the program again: what is not to run twice is guarded.
    guarded = re.sub(r"^", "    ", "\n".join(blocks), flags=re.MULTILINE)
    program = folder / "examples.py"
    program.write_text(f"if __name__ == '__main__':\n{guarded}\n".replace(_URL, instance.url))
    return program


def _run(instance: Running, python: str, program: Path) -> str:
    done = subprocess.run(
        [python, str(program)],
        cwd=program.parent,
        env=instance.environment(PYTHONPATH="", PYTHONWARNINGS="error"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example(instance: Running, tmp_path: Path) -> None:
    said = _run(instance, sys.executable, _script(instance, tmp_path))
    assert "verified: me@example.org" in said
    assert "not verified: the artifact is not the one that was signed" in said


def test_every_example_in_a_base_installation(instance: Running, tmp_path: Path) -> None:
    """`pip install countermark` alone: nothing of a server is there, and nothing is missed."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _do([*wheel, "--wheel-dir", str(tmp_path), str(source)])
    (built,) = tmp_path.glob("countermark-*.whl")
    base = tmp_path / "base"
    _do([sys.executable, "-m", "venv", "--without-pip", str(base)])
    python = str(base / "bin/python")
    (packages,) = base.glob("lib/python*/site-packages")
    with ZipFile(built) as archive:
        archive.extractall(packages)
    (metadata,) = packages.glob("countermark-*.dist-info")
    _link_requirements(PathDistribution(metadata), packages, set())
    look = f"import importlib.util as u; print([n for n in {_SERVER} if u.find_spec(n)])"
    assert _do([python, "-c", look]).strip() == "[]"
    said = _run(instance, python, _script(instance, tmp_path))
    assert "verified: me@example.org" in said
    assert "verify" in _do([python, "-m", "countermark", "--help"])


def _link_requirements(wanting: Distribution, packages: Path, done: set[str]) -> None:
    """Put what a distribution requires without extras into a folder, from where it is installed."""
    for text in wanting.requires or ():
        requirement = Requirement(text)
        name, marker = canonicalize_name(requirement.name), requirement.marker
        if name in done or (marker is not None and not marker.evaluate({"extra": ""})):
            continue
        done.add(name)
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            if top != "__pycache__":
                (packages / top).symlink_to(Path(str(found.locate_file(top))))
        _link_requirements(found, packages, done)


def _do(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
