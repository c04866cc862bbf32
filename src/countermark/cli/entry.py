# SPDX-License-Identifier: Apache-2.0
"""Where the `countermark` command starts.

`verify` and `inspect` go straight to modules that import next to nothing, since imports are
most of a single verification's time; everything else goes through click.
"""

import os
import sys

_INTERNAL = 70  # as `exits` has it, which is not imported before it is needed
_INTERRUPTED = 130  # 128 + SIGINT, as shells expect
_READER_GONE = 141  # 128 + SIGPIPE, likewise: 0 would say that all was verified


def main() -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    try:
        if arguments and arguments[0] == "verify":
            from countermark.cli.verify_command import run as verify

            return verify(arguments[1:])
        if arguments and arguments[0] == "inspect":
            from countermark.cli.inspect_command import run as inspect

            return inspect(arguments[1:])
        if arguments[:2] == ["git", "verify"]:
            from countermark.cli.git_verify import run as verify_objects

            return verify_objects(arguments[2:])
        from countermark.cli.main import run

        return run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it flushes.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return _READER_GONE
    except Exception as error:  # noqa: BLE001 - a person should not have to read a traceback
        return our_fault(error)


def our_fault(error: Exception) -> int:
    """Say that something of ours is broken; returns the exit code."""
    if os.environ.get("COUNTERMARK_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print(f"countermark: our fault: {type(error).__name__}: {error}", file=sys.stderr)
    print("  please report it, with what COUNTERMARK_DEBUG=1 shows", file=sys.stderr)
    return _INTERNAL
