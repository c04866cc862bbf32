# SPDX-License-Identifier: Apache-2.0
"""Where the `countermark` command starts.

`verify` and `inspect` go straight to modules that import next to nothing, since imports are
most of a single verification's time; everything else goes through click.
"""

import os
import sys

_INTERRUPTED = 130  # 128 + SIGINT, as shells expect


def main() -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] == "verify":
            from countermark.cli.verify_command import run as verify

            return verify(arguments[1:])
        if arguments and arguments[0] == "inspect":
            from countermark.cli.inspect_command import run as inspect

            return inspect(arguments[1:])
        from countermark.cli.main import run

        return run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
