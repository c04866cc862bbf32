# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: how hard property tests try, and what CI may not skip."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.matrix import FIXTURE, MISSING, OPTION, Matrix, everything_is_selected

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_INSTALLED_BY = "scripts/install-"
_MUST_RUN_IN_CI = ("interop", "fault", "vectors")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="write docs/reference/clients.md anew")


def pytest_configure(config: pytest.Config) -> None:
    """Judge the page of all clients where the reports of all processes arrive."""
    if not hasattr(config, "workerinput"):
        write, whole = bool(config.getoption(OPTION)), everything_is_selected(config)
        config.pluginmanager.register(Matrix(write=write, whole=whole), "matrix")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, a test that needs a real client or does damage must not be skipped."""
    report = yield
    if report.skipped and FIXTURE in getattr(item, "fixturenames", ()):
        report.user_properties.append((MISSING, item.nodeid))
    if report.skipped and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        must_run = any(item.get_closest_marker(name) for name in _MUST_RUN_IN_CI)
        if must_run or _INSTALLED_BY in reason:  # CI has run those scripts
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where it must run: {reason}"
    return report


def pytest_make_parametrize_id(val: object) -> str | None:
    """Number bytes instead of printing them: what is made at test time differs each time."""
    return "bytes" if isinstance(val, bytes) else None
