# SPDX-License-Identifier: Apache-2.0
"""What is remembered between verifications never decides one with another root, time or policy."""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

import countermark.core
from countermark import (
    CertificateExtension,
    Evidence,
    Identity,
    Thresholds,
    TrustedRoot,
    VerificationError,
    Verifier,
)
from countermark.core.bundle.trusted_root import Validity
from countermark.core.errors import CountermarkError
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW

ME = Identity(NAME, ISSUER)
BEFORE = Validity(NOW - timedelta(days=9), NOW - timedelta(days=1))
MAX_REMEMBERED = 1024
FORGE, OTHER = Forge(), Forge()
ROOT, THEIRS = FORGE.trusted_root(), OTHER.trusted_root()


def _ended(name: str) -> TrustedRoot:
    """The root, but nobody of that kind was believed when the bundles were made."""
    items = getattr(ROOT, name)
    if name in ("tlogs", "ctlogs", "certificate_authorities", "timestamp_authorities"):
        return ROOT._replace(**{name: tuple(item._replace(validity=BEFORE) for item in items)})
    raise AssertionError(name)


def _other_keys(name: str) -> TrustedRoot:
    """The root, but the logs' ids are claimed for keys of somebody else."""
    pairs = zip(getattr(ROOT, name), getattr(THEIRS, name), strict=True)
    return ROOT._replace(
        **{name: tuple(own._replace(key_bytes=other.key_bytes) for own, other in pairs)}
    )


ROOTS: dict[str, Callable[[], TrustedRoot]] = {
    "another instance": lambda: THEIRS,
    "log ended": lambda: _ended("tlogs"),
    "certificate log ended": lambda: _ended("ctlogs"),
    "authority ended": lambda: _ended("certificate_authorities"),
    "timestamp authority ended": lambda: _ended("timestamp_authorities"),
    "log of another key": lambda: _other_keys("tlogs"),
    "certificate log of another key": lambda: _other_keys("ctlogs"),
    "another authority": lambda: ROOT._replace(
        certificate_authorities=THEIRS.certificate_authorities
    ),
    "another timestamp authority": lambda: ROOT._replace(
        timestamp_authorities=THEIRS.timestamp_authorities
    ),
    "no certificate log": lambda: ROOT._replace(ctlogs=()),
    "log of another name": lambda: ROOT._replace(
        tlogs=tuple(log._replace(base_url="https://somebody.example") for log in ROOT.tlogs)
    ),
}


@pytest.fixture(scope="module", params=["v1", "v2"])
def bundle(request: pytest.FixtureRequest) -> bytes:
    return FORGE.bundle(log=request.param).serialize()


def _verified(root: TrustedRoot, bundle: bytes) -> Evidence:
    return Verifier(root).verify(ARTIFACT, bundle, ME)


@pytest.mark.parametrize("name", ROOTS)
def test_another_root_is_asked_anew(name: str, bundle: bytes) -> None:
    """Before and after it, the right one says what it always says."""
    expected = _verified(ROOT, bundle)
    root = ROOTS[name]()
    for _ in range(2):
        with pytest.raises(CountermarkError):
            _verified(root, bundle)
        assert _verified(ROOT, bundle) == expected


def test_another_policy_is_asked_anew(bundle: bytes) -> None:
    verifier = Verifier(ROOT)
    for _ in range(2):
        assert verifier.verify(ARTIFACT, bundle, ME)
        for policy in (
            Identity("bob@example.org", ISSUER),
            Identity(NAME, "https://somebody.example"),
            CertificateExtension("source-repository-uri", "https://example.org/x"),
        ):
            with pytest.raises(VerificationError):
                verifier.verify(ARTIFACT, bundle, policy)
        with pytest.raises(VerificationError):
            verifier.verify(ARTIFACT, bundle, ME, thresholds=Thresholds(times=9))
        with pytest.raises(VerificationError):
            verifier.verify(b"another", bundle, ME)


def test_another_time_is_asked_anew() -> None:
    """One certificate, used within its minutes and after them."""
    good = FORGE.bundle()
    late = FORGE.bundle(stamped_at=NOW + timedelta(minutes=11))
    for _ in range(2):
        assert Verifier(ROOT).verify(ARTIFACT, good, ME)
        with pytest.raises(VerificationError):
            Verifier(ROOT).verify(ARTIFACT, late, ME)


def _remembering() -> Iterator[tuple[str, Callable[..., object]]]:
    for info in pkgutil.walk_packages(countermark.core.__path__, "countermark.core."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, functools._lru_cache_wrapper):
                yield f"{info.name}.{name}", value


def test_what_is_remembered_is_bounded() -> None:
    found = dict(_remembering())
    assert len(found) > 10
    for name, function in found.items():
        size = function.cache_parameters()["maxsize"]  # type: ignore[attr-defined]
        assert size is not None, name
        assert size <= MAX_REMEMBERED, name


def test_refusals_are_not_remembered(bundle: bytes) -> None:
    """A flood of bad bundles pushes nothing out."""
    sizes = {name: function.cache_info().currsize for name, function in _sized()}
    wrong = _other_keys("tlogs")
    for _ in range(3):
        with pytest.raises(CountermarkError):
            _verified(wrong, bundle)
    checkpoints = "countermark.core.verify.log_entry._verify_checkpoint"
    assert dict(_sized())[checkpoints].cache_info().currsize == sizes[checkpoints]


def _sized() -> Iterator[tuple[str, "functools._lru_cache_wrapper[object]"]]:
    for name, function in _remembering():
        assert isinstance(function, functools._lru_cache_wrapper)
        yield name, function
