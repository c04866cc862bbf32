# SPDX-License-Identifier: Apache-2.0
"""Our commands in the test's own process: many of them, without a start of Python for each."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from unittest import mock

from countermark.cli import entry
from tests.support.running import Done, Running


def inside(instance: Running, *arguments: str, **environment: str) -> Done:
    """Run a command as the person of `instance` would; standard input is empty."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, instance.environment(**environment), clear=True),
        mock.patch.object(sys, "argv", ["countermark", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        _in(str(instance.home)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = entry.main()
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _in(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
