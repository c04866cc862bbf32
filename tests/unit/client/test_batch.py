# SPDX-License-Identifier: Apache-2.0
"""Many verifications: in order, bounded, errors as values, on one process or several."""

import io
import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark import DigestArtifact, Identity, Item, Outcome, Verifier
from countermark.client.batch import MAX_WORKERS, in_order
from countermark.client.verify import Root
from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.subject import SignerName
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    Distrusted,
    FormatError,
    IdentityMismatch,
    NotFound,
    RequestRejected,
    SignatureInvalid,
    Unavailable,
    VerificationError,
)
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW

ME, BOB = Identity(NAME, ISSUER), Identity("bob@example.org", ISSUER)


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def bundle(forge: Forge) -> bytes:
    return forge.bundle().serialize()


@pytest.fixture
def verifier(forge: Forge) -> Verifier:
    return Verifier(forge.trusted_root())


def _items(bundle: bytes, folder: Path) -> list[Item]:
    (folder / "file").write_bytes(ARTIFACT)
    return [
        Item(ARTIFACT, bundle),
        Item(folder / "file", bundle),
        Item(folder / "absent", bundle),
        Item(b"another", bundle),
        Item(ARTIFACT, b"{}"),
        Item(ARTIFACT, bundle, BOB),
        Item(folder, bundle),
        Item(io.BytesIO(ARTIFACT), bundle),
        Item(io.BytesIO(b"another"), bundle),
        Item(DigestArtifact.parse("sha512:" + "00" * 64), bundle),
    ]


_EXPECTED = [
    None, None, NotFound, SignatureInvalid, FormatError, IdentityMismatch, IsADirectoryError, None,
    SignatureInvalid, RequestRejected,
]  # fmt: skip


def _kinds(outcomes: Iterator[Outcome]) -> list[type[BaseException] | None]:
    return [None if outcome.error is None else type(outcome.error) for outcome in outcomes]


@pytest.mark.parametrize("workers", [1, 2])
def test_outcomes_are_in_order_and_errors_are_values(
    verifier: Verifier, bundle: bytes, tmp_path: Path, workers: int
) -> None:
    items = [item for _ in range(4) for item in _items(bundle, tmp_path)]
    outcomes = list(verifier.verify_many(items, ME, workers=workers))
    assert _kinds(iter(outcomes)) == _EXPECTED * 4
    assert [bool(outcome) for outcome in outcomes] == [kind is None for kind in _EXPECTED] * 4
    alone = verifier.verify(ARTIFACT, bundle, ME)
    assert outcomes[0].evidence == outcomes[1].evidence == alone


def test_workers_say_word_for_word_what_one_process_says(
    verifier: Verifier, bundle: bytes, tmp_path: Path
) -> None:
    def told(workers: int) -> list[tuple[str, list[str]]]:
        outcomes = verifier.verify_many(_items(bundle, tmp_path), ME, workers=workers)
        return [(repr(item.error), getattr(item.error, "__notes__", [])) for item in outcomes]

    assert told(1) == told(2)


def test_a_failed_outcome_cannot_be_overlooked() -> None:
    outcome = Outcome(None, SignatureInvalid("no"))
    assert not outcome
    with pytest.raises(SignatureInvalid, match="no"):
        assert outcome.evidence
    assert not Outcome(None, None)
    again = pickle.loads(pickle.dumps(outcome))
    assert (repr(again), bool(again)) == (repr(outcome), False)


def test_nobody_expected_is_nobody_accepted(verifier: Verifier, bundle: bytes) -> None:
    (outcome,) = verifier.verify_many([Item(ARTIFACT, bundle)])
    assert isinstance(outcome.error, RequestRejected)


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_they_are_needed(
    verifier: Verifier, bundle: bytes, workers: int
) -> None:
    taken = 0

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield Item(ARTIFACT, bundle)

    outcomes = verifier.verify_many(endless(), ME, workers=workers)
    assert all(itertools.islice(outcomes, 20))
    assert taken <= 20 + 16 * 2 * workers + 16
    assert hasattr(outcomes, "__next__")


@pytest.mark.parametrize("workers", [0, -1, MAX_WORKERS + 1])
def test_impossible_numbers_of_workers(verifier: Verifier, workers: int) -> None:
    with pytest.raises(RequestRejected, match="number of workers"):
        verifier.verify_many([], ME, workers=workers)


def test_what_is_wrong_with_the_program_is_raised(verifier: Verifier, bundle: bytes) -> None:
    class Broken:
        def check(self, signer: object) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(verifier.verify_many([Item(ARTIFACT, bundle)], Broken()))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_distrusted_is_refused_in_a_batch_too(
    forge: Forge, bundle: bytes, workers: int
) -> None:
    empty = DistrustList.empty("https://somebody.example", NOW)
    listed = empty.with_entry(SignerName(NAME, ISSUER), "the key leaked", "ada", NOW).serialize()
    verifier = Verifier(Root("a root", forge.trusted_root(), distrust=(listed,)))
    outcomes = list(verifier.verify_many([Item(ARTIFACT, bundle)] * 20, ME, workers=workers))
    assert {type(outcome.error) for outcome in outcomes} == {Distrusted}
    assert "the key leaked" in str(outcomes[-1].error)


def _die(item: int) -> int:
    import os

    os._exit(item)


def test_a_worker_that_dies_is_no_verdict() -> None:
    with pytest.raises(Unavailable, match="ended unexpectedly") as caught:
        list(in_order(_die, range(40), 2))
    assert "__main__" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "error",
    [*CountermarkError.__subclasses__(), *VerificationError.__subclasses__(), AlgorithmRefused],
)
def test_errors_survive_the_way_between_processes(error: type[CountermarkError]) -> None:
    made = error("a field", "is wrong") if issubclass(error, FormatError) else error("wrong")
    made.add_note("what to do")
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), str(again), vars(again)) == (error, str(made), vars(made))
    assert again.__notes__ == ["what to do"]
