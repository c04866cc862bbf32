# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets run, so that they cannot rot: their seeds, and some hundred changes to them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import FormatError
from countermark.core.identity.token import parse_token
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.verifier import verify
from fuzz import seeds as seed_maker
from fuzz.context import CORPUS, key_set, seeds, trusted_root
from fuzz.mutate import mutate
from fuzz.plain import Finding, run
from fuzz.registry import TARGETS
from fuzz.target import MAX_MESSAGE_CHARS, Refusals, Target, TooSlow, check
from fuzz.targets.documents import ARTIFACT

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A target moves the home; afterwards it is as it was, for the tests that come after.
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_changes_to_them(name: str) -> None:
    taken = run(TARGETS[name], seeds(name), changes=300)
    assert taken > 1, "hardly anything is understood: these seeds reach nothing"


@pytest.mark.parametrize("name", TARGETS)
def test_values_are_among_the_seeds(name: str) -> None:
    assert any(check(TARGETS[name], data) for data in seeds(name).values())


def test_the_corpus_is_what_the_script_makes() -> None:
    made = seed_maker.make()
    committed = {name: seeds(name) for name in made}
    assert {path.name for path in CORPUS.iterdir()} == set(made) == set(TARGETS)
    for name, files in made.items():
        assert set(committed[name]) == set(files), name
        for file, data in files.items():
            # Signatures differ by a few bytes from run to run.
            assert abs(len(data) - len(committed[name][file])) <= 64, f"{name}/{file}"
            assert _is_json(data) == _is_json(committed[name][file])
    total = sum(len(data) for files in committed.values() for data in files.values())
    assert total <= seed_maker.MAX_TOTAL_BYTES


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def test_no_private_key_is_in_the_corpus() -> None:
    found = [
        path for path in CORPUS.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()
    ]
    assert not found


def test_the_keys_of_the_corpus_fit() -> None:
    """What is to verify does so: else the targets would never get past the signatures."""
    for file in ("v1.json", "v2.json", "dsse.json", "intoto.json", "only-time.json"):
        bundle = Bundle.parse(seeds("bundle")[file])
        assert verify(bundle, BytesArtifact(ARTIFACT), trusted_root(), UnsafeAnyIdentity())
    for file in ("rs256", "es256", "eddsa"):
        key_set().verify(parse_token(seeds("token")[file].decode()))
    for data in seeds("tsp-response").values():
        assert verify_timestamp(data, b"a signature", trusted_root().timestamp_authorities)


def test_changes_are_reproducible_and_bounded() -> None:
    data = seeds("bundle")["v1.json"]
    made = [mutate(data, Random(number), 4000) for number in range(200)]
    assert made == [mutate(data, Random(number), 4000) for number in range(200)]
    assert max(map(len, made)) <= 4000
    assert len(set(made)) > 150
    assert sum(_is_json(mutate(data, Random(number), 16_000)) for number in range(200)) > 50


def _raises(error: Exception) -> Callable[[bytes], bool]:
    def parse(data: bytes) -> bool:
        raise error

    return parse


def test_what_is_a_finding() -> None:
    """A harness that finds nothing in broken parsers would find nothing anywhere."""
    with pytest.raises(Finding, match="KeyError"):
        run(Target("broken", _raises(KeyError("x"))), {"seed": b"{}"}, 0)
    for message in ("\ud800", "x" * (MAX_MESSAGE_CHARS + 1)):
        with pytest.raises((AssertionError, UnicodeEncodeError)), Refusals(FormatError):
            raise FormatError("field", message)
    with Refusals(FormatError):
        raise FormatError("field", "is wrong")

    def spins(data: bytes) -> bool:
        return sum(range(60_000_000)) > 0

    with pytest.raises(TooSlow, match="for 2 bytes"):
        check(Target("slow", spins), b"{}")


def test_the_engine_finds_what_is_broken_and_replays_it(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="not installed: `make fuzz` installs it")
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import sys\n"
        "from fuzz import registry\n"
        "from fuzz.target import Target\n"
        "def run(data):\n"
        "    if data[:1] == b'{':\n"
        "        raise KeyError('found')\n"
        "    return False\n"
        "registry.TARGETS['broken'] = Target('broken', run)\n"
        "from fuzz import engine, replay\n"
        "replay.main(sys.argv[2:]) if sys.argv[1] == 'replay' else engine.main()\n"
    )
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "seed").write_bytes(b"{}")

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(broken), *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    prefix = f"-artifact_prefix={tmp_path}/found-"
    done = python("broken", "-runs=50", "-seed=1", prefix, str(tmp_path / "corpus"))
    assert done.returncode != 0
    assert "KeyError: 'found'" in done.stdout + done.stderr
    (finding,) = tmp_path.glob("found-crash-*")
    again = python("replay", "broken", str(finding))
    assert again.returncode != 0
    assert "KeyError: 'found'" in again.stderr
