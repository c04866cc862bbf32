# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countermark.core.errors import SettingsError, TokenRejected

# What signing needs is imported by the commands that sign: `up` shares this module with them.
if TYPE_CHECKING:
    from countermark.client.choice import InstanceChoice
    from countermark.client.device import ToShow
    from countermark.client.identity import Prompts

_INSTANCE_OPTIONS = (
    ("url", "URL", "An instance that you know, by URL."),
    ("instance", "NAME", "'public' for the public-good instance, 'staging' for its test bed."),
    ("trust-config", "FILE", "An instance by its ClientTrustConfig."),
    ("trusted-root", "FILE", "An instance by its trusted root …"),
    ("signing-config", "FILE", "… and its signing config."),
)
device_option = click.option(
    "--device",
    is_flag=True,
    help="Log in with a browser anywhere, by a code shown here (chosen if there is no browser).",
)
F = TypeVar("F", bound=Callable[..., Any])
_MAX_TOKEN_BYTES = 64 * 1024

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
no_browser_option = click.option(
    "--no-browser", is_flag=True, help="Show the login address instead of opening it."
)


def instance_options(command: F) -> F:
    """Add the options that name an instance; they arrive as `InstanceChoice`'s fields."""
    for name, metavar, text in reversed(_INSTANCE_OPTIONS):
        command = click.option(f"--{name}", metavar=metavar, default="", help=text)(command)
    return command


def choice_from(options: dict[str, str]) -> "InstanceChoice":
    """What the options of `instance_options` say."""
    from countermark.client.choice import InstanceChoice

    return InstanceChoice(**options)


def read_token(path: str) -> str:
    """An identity token from a file, or from stdin for ``-``. Raises SettingsError."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MAX_TOKEN_BYTES)
        else:
            with open(path, "rb") as file:
                data = file.read(_MAX_TOKEN_BYTES)
        text = data.decode("ascii").strip()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenRejected(f"{path} holds no identity token") from error
    if not text:
        raise TokenRejected(f"{path} is empty, so it holds no identity token")
    return text


def prompts(*, no_browser: bool, device: bool = False) -> "Prompts | None":
    """How to have the person at this terminal log in; None if there is nobody.

    Who asks for a device code need not be at a terminal: somebody may read what is printed.
    """
    if not device and not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    can_open = not no_browser and _has_display()
    from countermark.client.identity import Prompts

    by_code = "only" if device else "" if can_open or no_browser else "offered"
    opener = _open_browser if can_open else _open_nothing
    return Prompts(opener, _ask_for_code, _show_device_code, by_code)


def _has_display() -> bool:
    # Elsewhere `webbrowser` starts a text browser in this very terminal.
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_browser(url: str) -> bool:
    import webbrowser

    print(f"Log in with your browser:\n  {url}", file=sys.stderr)
    return webbrowser.open(url)


def _open_nothing(url: str) -> bool:
    return False


def _show_device_code(told: "ToShow") -> None:
    print(
        f"Log in with any browser, within {told.minutes} minutes:\n  {told.address}\n"
        f"and check that it shows this code: {told.code}",
        file=sys.stderr,
        flush=True,
    )


def _ask_for_code(url: str) -> str:
    print(f"Log in with a browser, then type the code it shows:\n  {url}", file=sys.stderr)
    print("Code: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()
