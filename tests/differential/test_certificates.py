# SPDX-License-Identifier: Apache-2.0
"""Changed certificates: we and `cryptography.x509` read the same, or the page says why not."""

from collections.abc import Callable
from random import Random

import pytest

from countermark.core.crypto.certificate import Certificate
from fuzz.differential import certificates
from fuzz.differential.bundles import bases
from tests.support.vectors import vectors_dir

SEED, CASES = 20261122, 3000
FOUND = certificates.certificates(bases(vectors_dir()))


def test_every_difference_is_known() -> None:
    assert len(FOUND) >= 5
    outcome = certificates.judge(certificates.mutants(FOUND, Random(SEED), CASES))
    assert not outcome.unexplained, [item[1:] for item in outcome.unexplained]
    assert outcome.cases == CASES + len(FOUND)
    assert outcome.cases * 0.2 < outcome.accepted < outcome.cases * 0.9
    assert len(outcome.explained) >= 4


def test_unchanged_certificates_are_read_alike() -> None:
    outcome = certificates.judge(FOUND)
    assert not outcome.unexplained
    assert not outcome.explained
    assert outcome.accepted >= len(FOUND) - 1  # one of the published roots has a bare RSA key


@pytest.mark.parametrize(
    "change",
    [
        lambda certificate: certificate._replace(serial=1),
        lambda certificate: certificate._replace(tbs=b""),
        lambda certificate: certificate._replace(version=2),
        lambda certificate: certificate._replace(extensions=()),
    ],
)
def test_a_reader_that_reads_wrong_is_found(
    change: Callable[[Certificate], Certificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Certificate.parse

    def wrong(data: bytes) -> Certificate:
        return change(right(data))

    monkeypatch.setattr(Certificate, "parse", wrong)
    outcome = certificates.judge(FOUND[:1])
    assert outcome.unexplained
