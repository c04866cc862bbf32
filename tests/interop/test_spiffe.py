# SPDX-License-Identifier: Apache-2.0
"""The SPIFFE Workload API over an HTTP/2 that nobody here wrote: Node's."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countermark.client.ambient import ambient_token
from countermark.client.ambient_spiffe import VARIABLE
from countermark.client.transport import Transport
from countermark.core.errors import UpstreamDown
from tests.support.peers import on_path

pytestmark = pytest.mark.interop
SCRIPT = Path(__file__).with_name("spiffe_agent.cjs")


@contextmanager
def agent(path: Path, way: str) -> Iterator[dict[str, str]]:
    command = [on_path("node"), str(SCRIPT), str(path), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield {VARIABLE: f"unix://{path}"}
        finally:
            process.kill()


def test_the_agents_token(tmp_path: Path) -> None:
    with agent(tmp_path / "s", "give") as environ:
        for _ in range(3):
            token = ambient_token("sigstore", Transport(), environ)
            assert token == f"e30.{'a' * 300}.b"


def test_a_workload_without_a_name(tmp_path: Path) -> None:
    with agent(tmp_path / "s", "deny") as environ:
        with pytest.raises(UpstreamDown, match="gave no token to this workload"):
            ambient_token("sigstore", Transport(), environ)
        assert ambient_token("sigstore", Transport(), environ, clouds=False) is None
