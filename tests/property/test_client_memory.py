# SPDX-License-Identifier: Apache-2.0
"""What the client remembers: whatever the files hold, they are a record or one of our errors."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.client.evidence_check import judge
from countermark.client.instances import write_private_file
from countermark.client.last_seen import LastSeen, everything_seen
from countermark.client.log_evidence import refuse
from countermark.client.remembered import Remembered, everybody, find, forget, remember
from countermark.client.verify import Root
from countermark.core.errors import CountermarkError
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity
from tests.support.forge import Forge

FORGE = Forge()
BUNDLE = FORGE.bundle()
in_a_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.text(st.characters(), min_size=1, max_size=8)  # halves of characters too
texts = st.text(max_size=6)
signers = st.builds(
    SignerIdentity,
    texts,
    texts,
    texts,
    st.dictionaries(st.sampled_from(sorted(EXTENSION_NAMES)), texts, max_size=4).map(
        lambda items: tuple(sorted(items.items()))
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path))
    return tmp_path


def change(tree: dict[str, Any], key: str, value: Any) -> bytes:
    return json.dumps({**tree, key: value}).encode()


@in_a_file
@given(names, signers, texts, st.integers(0, 2**40))
def test_what_is_remembered_is_found_again(
    name: str, signer: SignerIdentity, text: str, at_s: int
) -> None:
    record = Remembered(name, signer, b"", text, text, at_s)
    forget(name)
    assert remember(record)
    assert find(name) == record
    assert record in everybody()
    assert forget(name)
    assert find(name) is None


@in_a_file
@given(st.binary(max_size=60), st.data())
def test_any_record_of_a_signer(home: Path, data: bytes, draw: st.DataObject) -> None:
    forget("x")
    remember(Remembered("x", SignerIdentity("email", "a", "b", ((12, "c"),)), b"", "r", "f", 1))
    (path,) = (home / "signers").iterdir()
    tree = json.loads(path.read_text())
    changed = change(tree, draw.draw(st.sampled_from(sorted(tree))), draw.draw(json_values))
    for content in (data, changed):
        write_private_file(str(path), content)
        for read in (lambda: find("x"), everybody):
            with contextlib.suppress(CountermarkError):
                read()


@in_a_file
@given(st.binary(max_size=60), st.data())
def test_any_record_of_a_log(home: Path, data: bytes, draw: st.DataObject) -> None:
    for path in (home / "checkpoints").glob("*"):
        path.unlink()
    seen = LastSeen()
    seen.meet(BUNDLE, FORGE.trusted_root())
    seen.save()
    (path,) = (home / "checkpoints").iterdir()
    tree = json.loads(path.read_text())
    changed = change(tree, draw.draw(st.sampled_from(sorted(tree))), draw.draw(json_values))
    for content in (data, changed):
        write_private_file(str(path), content)
        with contextlib.suppress(CountermarkError):
            LastSeen().meet(BUNDLE, FORGE.trusted_root())
        with contextlib.suppress(CountermarkError):
            everything_seen()


@in_a_file
@given(st.binary(max_size=60), st.data())
def test_any_evidence(home: Path, data: bytes, draw: st.DataObject) -> None:
    root = Root("ours", FORGE.trusted_root())
    seen = LastSeen()
    seen.meet(BUNDLE, FORGE.trusted_root())
    ((log, (note, *_)),) = seen.logs()
    refuse(log, "what", note, note)
    path = next((home / "evidence").iterdir())
    tree = json.loads(path.read_text())
    assert judge(path.read_bytes(), root).verdict == "nothing"
    changed = change(tree, draw.draw(st.sampled_from(sorted(tree))), draw.draw(json_values))
    for content in (data, changed):
        with contextlib.suppress(CountermarkError):
            assert judge(content, root).verdict == "nothing"
