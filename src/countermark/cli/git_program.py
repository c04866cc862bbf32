# SPDX-License-Identifier: Apache-2.0
"""`countermark-git`: what Git runs as ``gpg.x509.program``.

Git calls it as it calls GnuPG: ``--status-fd=2 -bsau KEY`` to sign what it reads, ``--status-fd=1
--verify SIGNATURE -`` to verify. Whom to expect comes from Git's configuration. Nobody being
expected, a good signature is good of unknown validity; one by somebody else than is expected is
bad, whatever it proves.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from countermark.cli.arguments import Arguments, printable
from countermark.cli.exits import NOT_PROVEN, OK, USAGE
from countermark.cli.output import describe
from countermark.client.git.objects import MAX_OBJECT_BYTES
from countermark.client.git.status import StatusWriter
from countermark.core.encoding import from_utf8
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    RequestRejected,
    SignatureInvalid,
)
from countermark.core.verify.policy import UnsafeAnyIdentity

if TYPE_CHECKING:
    from countermark.core.cms.git_signature import GitSignature

_INTERRUPTED = 130
_USAGE = """\
Usage: countermark-git --status-fd=N -bsau KEY        sign what is read, as Git asks
       countermark-git --status-fd=N --verify FILE -  verify what is read, as Git asks

Git runs this; `countermark git setup` tells it to. See `countermark git --help`.
"""


class Request(NamedTuple):
    """What Git asks for.

    Attributes:
        action: ``sign``, ``verify``, ``help`` or ``version``.
        status_fd: where status lines go; None for nowhere.
        key: ``-u``'s argument, which names the committer unless user.signingKey is set.
        operands: files.
    """

    action: str
    status_fd: int | None
    key: str
    operands: tuple[str, ...]


def parse_request(argv: Sequence[str]) -> Request:
    """Read GnuPG's options as far as Git uses them. Raises RequestRejected for all others."""
    actions: list[str] = []
    modes: set[str] = set()
    status_fd: int | None = None
    key = ""
    operands: list[str] = []
    rest = list(reversed(_split(argv)))
    while rest:
        word = rest.pop()
        name, _, value = word.partition("=")
        if name in ("--status-fd", "--local-user", "-u") and "=" not in word:
            if not rest:
                raise RequestRejected(f"{name} needs a value")
            value = rest.pop()
        if name == "--status-fd":
            if not value.isdigit():
                raise RequestRejected(f"--status-fd {value[:40]!r} is no descriptor")
            status_fd = int(value)
        elif name in ("--local-user", "-u"):
            key = value
        elif word in ("--sign", "-s"):
            actions.append("sign")
        elif word in ("--verify", "--help", "--version"):
            actions.append(word[2:])
        elif word in ("--detach-sign", "-b", "--armor", "-a"):
            modes.add(word.lstrip("-")[0])
        elif name in ("--keyid-format", "--batch", "--no-tty"):
            continue
        elif word.startswith("-") and word != "-":
            raise RequestRejected(f"there is no option {word[:100]}")
        else:
            operands.append(word)
    if len(actions) != 1:
        raise RequestRejected("say either --sign or --verify")
    if actions == ["sign"] and modes != {"d", "a"} and modes != {"b", "a"}:
        raise RequestRejected("only detached signatures in armour are made: -bsa")
    return Request(actions[0], status_fd, key, tuple(operands))


def _split(argv: Sequence[str]) -> list[str]:
    """Short options each on its own: ``-bsau KEY`` and ``-bsauKEY`` are ``-b -s -a -u KEY``."""
    words: list[str] = []
    for word in argv:
        if len(word) <= 2 or word[0] != "-" or word[1] == "-":
            words.append(word)
            continue
        letters, has_key, key = word[1:].partition("u")
        words.extend(f"-{letter}" for letter in letters + has_key)
        words.extend([key] if key else [])
    return words


def main() -> int:
    """Do what Git asks; returns the exit code."""
    try:
        request = parse_request(sys.argv[1:])
        if request.action == "help":
            print(_USAGE, end="")
            return OK
        if request.action == "version":
            from importlib.metadata import version

            print(f"countermark-git {version('countermark')}")
            return OK
        status = StatusWriter(request.status_fd)
        if request.action == "verify":
            return verify(request, status, sys.stdin.buffer)
        from countermark.cli.git_sign import sign_for_git

        return sign_for_git(status, read_payload(sys.stdin.buffer))
    except CountermarkError as error:
        _say(error)
        return USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a person should not have to read a traceback
        from countermark.cli.entry import our_fault

        return our_fault(error)


def verify(request: Request, status: StatusWriter, stdin: BinaryIO) -> int:
    """Verify a detached signature; says what was found in status lines and on stderr."""
    if len(request.operands) != 2 or request.operands[1] != "-":
        raise RequestRejected("only a detached signature of what is read is verified: FILE -")
    from countermark.cli.git_expected import expectation
    from countermark.client.git.settings import load_settings
    from countermark.client.git.verify import checkable
    from countermark.client.verify import read_file
    from countermark.core.cms.git_signature import MAX_ARMOUR_BYTES, GitSignature

    status.new_signature()
    fingerprint = ""
    try:
        payload = read_payload(stdin)
        signature = GitSignature.parse(read_file(request.operands[0], MAX_ARMOUR_BYTES))
        fingerprint = signature.fingerprint
        expected = expectation(Arguments({}, ()), load_settings(), os.environ)
        # Without a log entry, or one of a log that nobody here trusts, there is no judging.
        checked = checkable(payload, signature, expected.root)
    except SignatureInvalid as error:
        status.bad(fingerprint, _name_in(signature))
        return _say(error)
    except (CountermarkError, OSError) as error:
        status.unverifiable(fingerprint)
        return _say(error)
    try:
        if expected.names_somebody:
            evidence = expected.verify(_name_of(payload), checked)
        else:
            evidence = checked.root.verify(*checked[:2], UnsafeAnyIdentity())
    except FormatError as error:
        status.unverifiable(fingerprint)
        return _say(error)
    except CountermarkError as error:
        status.bad(fingerprint, _name_in(signature))
        return _say(error)
    assert evidence.signer is not None
    named, time = expected.names_somebody, evidence.times[0].time
    status.good(evidence.key, fingerprint, evidence.signer.name, time, expected=named)
    who = f"{evidence.signer.name} ({evidence.signer.issuer})"
    line = f"countermark: signed by {who} at {time:%Y-%m-%d %H:%M:%S} UTC, root {evidence.root}"
    print(printable(line), file=sys.stderr)
    if not named:
        print("countermark: nobody was expected: set countermark.identity", file=sys.stderr)
    return OK


def _name_of(payload: bytes) -> str:
    """What policy files call an object that is stored without its signature."""
    from countermark.cli.git_expected import name_in_policies

    headers = payload.partition(b"\n\n")[0].split(b"\n")
    if not headers[0].startswith(b"object "):
        return name_in_policies("commit", "")
    names = [line.removeprefix(b"tag ") for line in headers if line.startswith(b"tag ")]
    if len(names) != 1:
        raise FormatError("tag", f"has {len(names)} names")
    return name_in_policies("tag", from_utf8(names[0], "tag name"))


def read_payload(stdin: BinaryIO) -> bytes:
    """What Git wants signed or verified. Raises FormatError if it is too large."""
    data = stdin.read(MAX_OBJECT_BYTES + 1)
    if len(data) > MAX_OBJECT_BYTES:
        raise FormatError("commit or tag", f"is larger than {MAX_OBJECT_BYTES} bytes")
    return data


def _name_in(signature: "GitSignature") -> str:
    from countermark.core.verify.signer import SignerIdentity

    try:
        return SignerIdentity.from_certificate(signature.certificate).name
    except CountermarkError:
        return "nobody that could be read"


def _say(error: CountermarkError | OSError) -> int:
    message, hint = describe(error) if isinstance(error, CountermarkError) else (str(error), "")
    for line in filter(None, (message, hint)):
        print(f"countermark: {printable(line)}", file=sys.stderr)
    return NOT_PROVEN
