# SPDX-License-Identifier: Apache-2.0
"""Verifying many bundles: in order, errors as values, in other processes if asked for.

`Verifier.verify_many` is the way in. Items are taken as they are needed, so their source may be
endless; what is in flight is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from countermark.core.errors import CountermarkError, RequestRejected, Unavailable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from countermark.client.verify import Source, Verifier
    from countermark.core.bundle.bundle import Bundle
    from countermark.core.crypto.keys import PublicKey
    from countermark.core.verify.evidence import Evidence
    from countermark.core.verify.policy import Policy
    from countermark.core.verify.verifier import Thresholds

MAX_WORKERS = 61  # what Windows can wait for
_CHUNK = 16
_CHUNKS_AHEAD = 2  # for each process

T = TypeVar("T")
R = TypeVar("R")


class Item(NamedTuple):
    """One verification to do.

    Attributes:
        source: what was signed: bytes, a path object, an open binary file, or a `DigestArtifact`.
        bundle: parsed, or its JSON.
        policy: whom to accept; None for the policy of the whole batch.
    """

    source: "Source"
    bundle: "Bundle | bytes"
    policy: "Policy | PublicKey | None" = None


class Outcome:
    """What came of one item. True if it was verified, and only then.

    Attributes:
        error: why it was not verified; None if it was. An OSError if its file cannot be read.
    """

    __slots__ = ("_evidence", "error")

    def __init__(
        self, evidence: "Evidence | None", error: CountermarkError | OSError | None
    ) -> None:
        self._evidence = evidence
        self.error = error

    def __bool__(self) -> bool:
        """Whether it was verified."""
        return self._evidence is not None and self.error is None

    @property
    def evidence(self) -> "Evidence":
        """The evidence. Raises `error` if there is none, so that it cannot be overlooked."""
        if self.error is not None:
            raise self.error
        assert self._evidence is not None
        return self._evidence

    def __repr__(self) -> str:
        return f"<Outcome: {self.error!r}>" if self.error else "<Outcome: verified>"


class VerifyItem(NamedTuple):
    """The task of one batch: what is the same for all its items. Goes to other processes whole."""

    verifier: "Verifier"
    policy: "Policy | PublicKey | None"
    thresholds: "Thresholds"

    def run(self, item: Item) -> Outcome:
        """Verify one item; its errors are values, those of the program are raised."""
        policy = item.policy if item.policy is not None else self.policy
        try:
            if policy is None:
                raise RequestRejected("it is not said who is to have signed")
            evidence = self.verifier.verify(
                item.source, item.bundle, policy, thresholds=self.thresholds
            )
        except (CountermarkError, OSError) as error:
            return Outcome(None, error)
        return Outcome(evidence, None)


def is_open_file(item: Item) -> bool:
    """Whether only this process can read the item's source."""
    return hasattr(item.source, "read")


def in_order(
    task: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    *,
    stays: Callable[[T], bool] = lambda _: False,
) -> Iterator[R]:
    """``map(task, items)``, by `workers` processes if there are more than one.

    Args:
        task: picklable, as its results and the items must be.
        items: taken as results are asked for, a few dozen ahead of them.
        workers: how many processes; 1 is this one.
        stays: whether an item must be worked on in this process.

    Raises RequestRejected for an impossible number of workers, and while iterating whatever
    `task` raises, or Unavailable if a process died.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise RequestRejected(f"the number of workers is {workers}, not 1 to {MAX_WORKERS}")
    return map(task, items) if workers == 1 else _spread(task, items, workers, stays)


def _spread(
    task: Callable[[T], R], items: Iterable[T], workers: int, stays: Callable[[T], bool]
) -> Iterator[R]:
    # Spawned, never forked: a copy of a process with threads or open connections is a trap.
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_Worker.set, initargs=(task,)
    )
    chunks = _chunks(iter(items), stays)
    ahead: deque[Future[list[R]] | list[T]] = deque()
    try:
        while True:
            while len(ahead) < workers * _CHUNKS_AHEAD and (chunk := next(chunks, None)):
                here = stays(chunk[0])
                ahead.append(chunk if here else executor.submit(_run, chunk))
            if not ahead:
                return
            done = ahead.popleft()
            yield from map(task, done) if isinstance(done, list) else done.result()
    except BrokenProcessPool as error:
        died = Unavailable("a process that was verifying ended unexpectedly")
        died.add_note('a script that starts workers needs `if __name__ == "__main__":` around it')
        raise died from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _chunks(items: Iterator[T], stays: Callable[[T], bool]) -> Iterator[list[T]]:
    """Lists of at most `_CHUNK` items; one that stays is alone in its list."""
    while chunk := list(islice(items, _CHUNK)):
        part: list[T] = []
        for item in chunk:
            if stays(item):
                if part:
                    yield part
                    part = []
                yield [item]
            else:
                part.append(item)
        if part:
            yield part


class _Worker(Generic[T, R]):
    """What a process of the pool keeps."""

    task: Callable[[Any], Any]

    @classmethod
    def set(cls, task: Callable[[T], R]) -> None:
        """Called once as the process starts."""
        cls.task = staticmethod(task)


def _run(chunk: list[Any]) -> list[Any]:
    return [_Worker.task(item) for item in chunk]
