# SPDX-License-Identifier: Apache-2.0
"""What `countermark verify` can be asked beyond who signed: stricter, looser, older, in words.

Imported when one of these options is given; most verifications give none.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from countermark.cli.arguments import Arguments, printable
from countermark.client.verify import read_file
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_rfc3339
from countermark.core.errors import CountermarkError, NoneMatches, RequestRejected
from countermark.core.verify.evidence import Check
from countermark.core.verify.managed_key import ManagedKey
from countermark.core.verify.verifier import ONE_OF_EACH, Expected, Thresholds

if TYPE_CHECKING:
    from countermark.core.bundle.bundle import Bundle
    from countermark.core.verify.witness import WitnessPolicy

_MOST = 32


class Asked(NamedTuple):
    """The options of this module.

    Attributes:
        thresholds: how many parties must agree.
        witnesses: who must have cosigned; None for nobody.
        detached: paths of signature, certificate, log promise, timestamp and SCT; empty without.
    """

    thresholds: Thresholds = ONE_OF_EACH
    witnesses: "WitnessPolicy | None" = None
    detached: tuple[str, str, str, str, str] = ("", "", "", "", "")

    def signature(self) -> "Bundle":
        """The detached signature. Raises NotFound, FormatError, RequestRejected."""
        from countermark.client.signatures import read_detached

        return read_detached(*self.detached)


def asked(arguments: Arguments) -> Asked:
    """Read the options. Raises RequestRejected, NotFound, FormatError."""
    numbers = {name: _number(arguments, f"threshold-{name}") for name in ("times", "logs", "scts")}
    without_log = arguments.flag("without-log")
    if without_log and (arguments.one("threshold-logs") or arguments.one("witness-policy")):
        raise RequestRejected("a log cannot be both needed and not needed")
    detached = (
        arguments.one("signature"),
        arguments.one("certificate"),
        arguments.one("rekor-bundle"),
        arguments.one("rfc3161-timestamp"),
        arguments.one("sct"),
    )
    if any(detached):
        _check_detached(arguments, detached)
    return Asked(
        Thresholds(**numbers, unlogged=without_log),
        _witnesses(arguments.one("witness-policy")),
        detached,
    )


def _check_detached(arguments: Arguments, detached: tuple[str, ...]) -> None:
    if arguments.one("bundle"):
        raise RequestRejected("a signature is either a bundle or detached, not both")
    if len(arguments.operands) > 1:
        raise RequestRejected("--signature is for one FILE")
    if not detached[0]:
        error = RequestRejected("a certificate, a promise or a timestamp alone signs nothing")
        error.add_note("name the signature with --signature FILE")
        raise error


def limited(arguments: Arguments, policies: tuple[Expected, ...]) -> tuple[Expected, ...]:
    """`policies` with the period of their keys, if one was given. Raises RequestRejected."""
    start, end = _time(arguments, "key-valid-from"), _time(arguments, "key-valid-until")
    if start is None and end is None:
        return policies
    keys = [policy for policy in policies if isinstance(policy, PublicKey)]
    if not keys or len(keys) < len(policies):
        raise RequestRejected("only a managed key has a period: name it with --key FILE")
    if start is not None and end is not None and end < start:
        raise RequestRejected("the key's period ends before it begins")
    return tuple(ManagedKey(key, start, end) for key in keys)


def none_holds(refused: Sequence[CountermarkError]) -> NoneMatches:
    """The error for several signatures none of which holds, with the reasons of each."""
    refusals = tuple(
        {
            "code": error.code,
            "message": str(error),
            "found": getattr(error, "found", ""),
            "expected": getattr(error, "expected", ""),
        }
        for error in refused
    )
    told = "; ".join(f"{number}: {error}" for number, error in enumerate(refused[:8], 1))
    error = NoneMatches(f"none of {len(refused)} signatures holds ({told})", refusals=refusals)
    error.found = "; ".join(item["found"] for item in refusals[:8] if item["found"])
    error.expected = next((item["expected"] for item in refusals if item["expected"]), "")
    return error


def explained(checks: "tuple[Check, ...]") -> Iterator[str]:
    """Every check in lines for people: what, compared with what, and why it holds."""
    for check in checks:
        yield f"  {check.step} {check.name:<12} {printable(check.detail)}"
        yield f"      found      {printable(check.found)}"
        yield f"      expected   {printable(check.expected)}"
        yield f"      because    {printable(check.why)}"


def _number(arguments: Arguments, name: str) -> int:
    text = arguments.one(name)
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST):
        raise RequestRejected(f"--{name} is a number from 1 to {_MOST}")
    return int(text)


def _time(arguments: Arguments, name: str) -> datetime | None:
    text = arguments.one(name)
    return from_rfc3339(text, f"--{name}") if text else None


def _witnesses(path: str) -> "WitnessPolicy | None":
    if not path:
        return None
    from countermark.core.verify.witness import MAX_POLICY_BYTES, WitnessPolicy

    return WitnessPolicy.parse(read_file(path, MAX_POLICY_BYTES))
