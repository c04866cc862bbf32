# SPDX-License-Identifier: Apache-2.0
"""Changed bundles: we, sigstore-python and sigstore-js agree, or the page says why not."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.differential import judge as judging
from fuzz.differential.bundles import Base, Mutant, bases, ended, mutants
from fuzz.differential.certificates import RULES as X509_RULES
from fuzz.differential.judge import Case, canonical, explain, judge, our_verdict, question_of
from fuzz.differential.own import own
from fuzz.differential.peers import Peer, Verdict, sigstore_js, sigstore_python
from fuzz.differential.rules import JS, PYTHON, RULES, SPELLINGS, UNSIGNED
from fuzz.differential.spelling import spellings
from tests.support.vectors import vectors_dir

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("differential")]
PAGE = Path(__file__).parents[2] / "docs/reference/differences.md"
SEED, CASES = 20261122, 160
BASES = {base.name: base for base in bases(vectors_dir())}
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def peers() -> Iterator[list[Peer]]:
    found = [peer for peer in (sigstore_python(), sigstore_js()) if peer is not None]
    if len(found) < 2:
        pytest.skip("sigstore-python or sigstore-js is not there: run scripts/install-peers")
    yield found
    for peer in found:
        peer.close()


def test_every_difference_is_known(peers: list[Peer]) -> None:
    outcome = judge(mutants(list(BASES.values()), Random(SEED), CASES), peers)
    assert not outcome.unexplained, "\n".join(map(Case.describe, outcome.unexplained))
    assert outcome.cases > CASES
    assert outcome.cases * 0.1 < outcome.accepted < outcome.cases * 0.8
    assert outcome.agreed > outcome.cases * 0.4
    assert len(outcome.explained) > 5


def test_what_an_instance_of_ours_signs(peers: list[Peer], tmp_path: Path) -> None:
    with own(tmp_path) as made:
        outcome = judge(mutants(made, Random(SEED), 60), peers)
        assert all(
            judge([Mutant(base, "", base.data, base.artifact)], peers).agreed for base in made
        )
    assert not outcome.unexplained, "\n".join(map(Case.describe, outcome.unexplained))
    assert outcome.accepted >= len(made)


def test_keys_count_only_while_the_root_believes_them(peers: list[Peer], tmp_path: Path) -> None:
    found = ended([base for base in BASES.values() if base.name.startswith("corpus/")], tmp_path)
    outcome = judge([Mutant(base, "", base.data, base.artifact) for base in found], peers)
    assert not outcome.unexplained, "\n".join(map(Case.describe, outcome.unexplained))
    assert outcome.explained["windows"] > 10
    # Without a timestamp there is no authority of timestamps to believe.
    assert outcome.accepted == sum(
        b"signedTimestamp" not in base.data for base in found if "timestampAuth" in base.name
    )


def test_the_page_explains_every_rule_and_no_other() -> None:
    told = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(told) == len(set(told))
    rules = {rule.name for rule in RULES} | {rule.name for rule in X509_RULES}
    assert set(told) == rules | {UNSIGNED, *SPELLINGS}


def test_a_verifier_that_believes_everything_is_found(
    peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every rule lets pass together must not be all that can go wrong."""
    monkeypatch.setattr(judging, "our_verdict", lambda question: Verdict(True))
    base = BASES["corpus/v1.json"]
    for wrong in (_without_entry, _other_signature, _other_certificate):
        outcome = judge([_mutant(base, wrong)], peers)
        assert len(outcome.unexplained) == 1, wrong.__name__
    assert judge([Mutant(base, "artifact", base.data, b"x")], peers).unexplained


def test_a_verifier_that_believes_nothing_is_found(
    peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = Verdict(False, "signature-invalid", "no signature is good enough")
    monkeypatch.setattr(judging, "our_verdict", lambda question: refusal)
    base = BASES["corpus/v1.json"]
    assert judge([Mutant(base, "none", base.data, base.artifact)], peers).unexplained


def test_a_program_that_dies_refuses_and_is_started_again(tmp_path: Path) -> None:
    script = tmp_path / "peer.sh"
    script.write_text("read line; echo '{\"ok\": true}'; read line; exit 1\n")
    question = question_of(_mutant(BASES["corpus/v1.json"], lambda tree: None))
    with Peer("it", ["/bin/sh", str(script)], {}) as peer:
        said = [peer.ask(question).ok for _ in range(4)]
    assert said == [True, False, True, False]


# --- one example of each difference ------------------------------------------------------------


def _mutant(base: Base, change: Callable[[Tree], object], artifact: bytes | None = None) -> Mutant:
    tree = json.loads(base.data)
    change(tree)
    data = base.artifact if artifact is None else artifact
    return Mutant(base, change.__name__, json.dumps(tree).encode(), data)


def _entry(tree: Tree) -> Tree:
    entry: Tree = tree["verificationMaterial"]["tlogEntries"][0]
    return entry


def _without_entry(tree: Tree) -> None:
    tree["verificationMaterial"]["tlogEntries"] = []


def _other_signature(tree: Tree) -> None:
    tree["messageSignature"]["signature"] = b64encode(bytes(70)).decode()


def _other_certificate(tree: Tree) -> None:
    other = json.loads(BASES["corpus/only-time.json"].data)
    tree["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


def _set(tree: Tree, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        tree = tree[name]
    tree[last] = value


def _note(change: Callable[[str], str]) -> Callable[[Tree], None]:
    def apply(tree: Tree) -> None:
        checkpoint = _entry(tree)["inclusionProof"]["checkpoint"]
        checkpoint["envelope"] = change(checkpoint["envelope"])

    return apply


def _unpadded(tree: Tree) -> None:
    proof = _entry(tree)["inclusionProof"]
    proof["rootHash"] = proof["rootHash"].rstrip("=")


def _renamed(tree: Tree) -> None:
    tree["media_type"] = tree.pop("mediaType")


def _without_time(tree: Tree) -> None:
    del _entry(tree)["inclusionPromise"]


# Rule → base, change, who differs from us.
EXAMPLES: dict[str, tuple[str, Callable[[Tree], object], set[str]]] = {
    "number-for-string": (
        "corpus/v1.json", lambda tree: _entry(tree).update(logIndex=int(_entry(tree)["logIndex"])),
        {PYTHON},
    ),
    "enum-number": (
        "corpus/v1.json", lambda tree: _set(tree, "messageSignature.messageDigest.algorithm", 1),
        {PYTHON},
    ),
    "url-safe-or-unpadded-base64": ("corpus/v1.json", _unpadded, {PYTHON}),
    "proto-names": ("corpus/v1.json", _renamed, {JS}),
    "unknown-fields": ("corpus/v1.json", lambda tree: tree.update(unknown=1), {PYTHON}),
    "intoto-entries": ("corpus/intoto.json", lambda tree: None, {PYTHON}),
    "no-message-digest": (
        "corpus/v1.json", lambda tree: tree["messageSignature"].pop("messageDigest"), {JS},
    ),
    "proof-agrees": (
        "corpus/v1.json",
        lambda tree: _entry(tree)["inclusionProof"].update(rootHash=b64encode(bytes(32)).decode()),
        {JS},
    ),
    "one-index": (
        "corpus/v2.json", lambda tree: _entry(tree).update(logIndex="6"), {PYTHON, JS},
    ),
    "note-syntax": (
        "corpus/v1.json", _note(lambda note: note + "not a signature line\n"), {PYTHON, JS},
    ),
    "note-name": (
        "corpus/v1.json", _note(lambda note: note.replace("— log", "— other")), {PYTHON},
    ),
    "digest-label": (
        "corpus/v1.json",
        lambda tree: _set(tree, "messageSignature.messageDigest.algorithm", "SHA2_512"),
        {PYTHON},
    ),
    "one-content": (
        "corpus/v1.json",
        lambda tree: tree.update(
            dsseEnvelope=json.loads(BASES["corpus/dsse.json"].data)["dsseEnvelope"]
        ),
        {JS},
    ),
    "log-id": (
        "corpus/v2.json",
        lambda tree: _entry(tree)["logId"].update(
            keyId=b64encode(b64decode(_entry(tree)["logId"]["keyId"])[:4]).decode()
        ),
        {PYTHON},
    ),
    "promise-checked": (
        "corpus/v1.json", lambda tree: _entry(tree).pop("integratedTime"), {PYTHON},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_difference_is_real(name: str, peers: list[Peer]) -> None:
    base, change, differing = EXAMPLES[name]
    mutant = _mutant(BASES[base], change)
    question = question_of(mutant)
    theirs = {peer.name: peer.ask(question) for peer in peers}
    case = Case(mutant, our_verdict(question), theirs)
    found = {peer for peer, verdict in theirs.items() if verdict.ok != case.ours.ok}
    assert found == differing, case.describe()
    assert name in explain(case, peers), case.describe()


def test_a_statement_about_another_artifact_is_refused_by_us(peers: list[Peer]) -> None:
    mutant = _mutant(BASES["corpus/dsse.json"], lambda tree: None, b"another artifact")
    question = question_of(mutant)
    theirs = {peer.name: peer.ask(question) for peer in peers}
    assert {name: verdict.ok for name, verdict in theirs.items()} == {PYTHON: False, JS: True}
    assert explain(Case(mutant, our_verdict(question), theirs), peers) == ["subject"]


def test_a_timestamp_may_differ_only_where_nobody_signed(peers: list[Peer]) -> None:
    base = BASES["corpus/v2.json"]

    def padded_status(tree: Tree) -> None:
        (stamp,) = tree["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
        data = b64decode(stamp["signedTimestamp"])
        status, body = b"\x30\x03\x02\x01\x00", data[4:]
        assert body.startswith(status)
        body = b"\x30\x06\x02\x01\x00\x02\x01\x00" + body[len(status) :]
        changed = data[:2] + len(body).to_bytes(2) + body
        stamp["signedTimestamp"] = b64encode(changed).decode()

    mutant = _mutant(base, padded_status)
    question = question_of(mutant)
    theirs = {peer.name: peer.ask(question) for peer in peers}
    assert {name: verdict.ok for name, verdict in theirs.items()} == {PYTHON: False, JS: True}
    assert explain(Case(mutant, our_verdict(question), theirs), peers) == [UNSIGNED]


def test_spellings_are_told_apart_and_the_canonical_form_has_none() -> None:
    for base in BASES.values():
        if not base.name.endswith("_fail"):
            assert spellings(canonical(base.data)) <= {"absent-for-zero", "empty-for-absent"}
    base = BASES["corpus/v1.json"]
    assert our_verdict(question_of(Mutant(base, "", canonical(base.data), base.artifact))).ok
