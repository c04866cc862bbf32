# SPDX-License-Identifier: Apache-2.0
"""The unavoidable public-key operations, timed with `cryptography` while a load runs.

A processor that is busy on all cores does the same work slower than one that is idle, so the
operations are timed during the load that they are held against, by a process of their own that
takes about a twentieth of one core. What is counted is the CPU time of its thread: waiting for
the processor costs nothing. Each sample first does every operation once untimed, so that what is
timed finds its code in the caches, and each uses another key, as each request does.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from select import select

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from bench.measure import cpu_per_call

SIGN, VERIFY, RS256 = "P-256 sign", "P-256 verify", "RS256 verify"
_KEYS = 64
_PAUSE_S = 0.006
_LEAST = 20  # samples; a window too short for them is sampled on after its end
_MESSAGE = b"x" * 200
Operations = dict[str, Callable[[], object]]


def _operations() -> Iterator[Operations]:
    """The operations of one sample after the other, each with the next of some keys."""
    algorithm, pkcs1 = ec.ECDSA(SHA256()), padding.PKCS1v15()
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(_KEYS)]
    signed = [(key, key.public_key(), key.sign(_MESSAGE, algorithm)) for key in keys]
    rsa_key = rsa.generate_private_key(65537, 2048)
    rsa_public, rsa_signature = rsa_key.public_key(), rsa_key.sign(_MESSAGE, pkcs1, SHA256())
    for key, public, signature in cycle(signed):
        yield {
            SIGN: partial(key.sign, _MESSAGE, algorithm),
            VERIFY: partial(public.verify, signature, _MESSAGE, algorithm),
            RS256: partial(rsa_public.verify, rsa_signature, _MESSAGE, pkcs1, SHA256()),
        }


def _timed_ns(call: Callable[[], object]) -> int:
    before = time.thread_time_ns()
    call()
    return time.thread_time_ns() - before


def floors() -> dict[str, float]:
    """CPU seconds of one operation while nothing else is asked for, by name."""
    return {name: cpu_per_call(call) for name, call in next(_operations()).items()}


def _serve() -> None:
    """Sample from one byte on stdin to the next, then print the medians."""
    operations = _operations()
    overhead = statistics.median(_timed_ns(lambda: None) for _ in range(1000))
    print("ready", flush=True)
    while os.read(0, 1):  # one byte is one command: text would be read ahead, out of sight
        samples: dict[str, list[float]] = {SIGN: [], VERIFY: [], RS256: []}
        ended = False
        while not ended or len(samples[SIGN]) < _LEAST:
            calls = next(operations)
            for call in calls.values():
                call()
            for name, call in calls.items():
                samples[name].append((_timed_ns(call) - overhead) / 1e9)
            ended = ended or bool(select([0], [], [], _PAUSE_S)[0])
        os.read(0, 1)
        medians = {name: statistics.median(taken) for name, taken in samples.items()}
        print(json.dumps(medians), flush=True)


class FloorSampler:
    """Times the operations between `start` and `stop`. Make it with `floor_sampler`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._read()

    def start(self) -> None:
        """The load begins."""
        self._write()

    def stop(self) -> dict[str, float]:
        """The load has ended: median CPU seconds of one operation, by name."""
        self._write()
        found: dict[str, float] = json.loads(self._read())
        return found

    def _write(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def floor_sampler() -> Iterator[FloorSampler]:
    """A sampler in a process of its own."""
    command = [sys.executable, "-m", "bench.floors"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield FloorSampler(process)
        finally:
            process.kill()


if __name__ == "__main__":
    _serve()
