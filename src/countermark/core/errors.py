# SPDX-License-Identifier: Apache-2.0
"""Every error Countermark raises on purpose.

    CountermarkError
    ├── FormatError                 bytes are not what they claim to be       the sender acts
    ├── RequestRejected             well-formed, but must change              the caller acts
    │   ├── TokenRejected
    │   ├── PossessionUnproven
    │   ├── AlgorithmRefused
    │   ├── DuplicateEntry
    │   └── LogFrozen
    ├── VerificationError           the evidence does not prove the claim     the user decides
    │   ├── SignatureInvalid
    │   ├── InclusionInvalid
    │   ├── ConsistencyInvalid
    │   ├── ChainInvalid
    │   ├── SCTInvalid
    │   ├── TimeUnproven
    │   ├── IdentityMismatch
    │   ├── NoneMatches
    │   │   ├── SignerChanged
    │   │   └── SignerUnknown
    │   └── Distrusted
    ├── NotFound                    nothing under that name                   the caller acts
    ├── Unavailable                 try again later                           the caller waits
    │   ├── Pushback
    │   └── UpstreamDown
    ├── Conflict                    state moved; read again                   our code acts
    ├── InvariantBroken             our bug or a damaged store                an operator, now
    │   └── OutcomeUnknown          a write may or may not have happened      the process exits
    └── SettingsError               refuses to start                          an operator

Each class has a stable `code`: the JSON field, the metric label and the anchor in the docs.
HTTP statuses live in `httpkit.problems`, exit codes in `cli.exits`.
"""

from typing import ClassVar


class CountermarkError(Exception):
    """Base of all our errors. `str(error)` is one sentence a person can act on."""

    code: ClassVar[str] = "error"


class FormatError(CountermarkError):
    """Foreign bytes that are not what they claim to be.

    Attributes:
        what: the field or document at fault, as its specification calls it.
        why: what is wrong with it.
    """

    code = "format"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why

    def __reduce__(self) -> tuple[type["FormatError"], tuple[str, str], dict[str, object]]:
        return (type(self), (self.what, self.why), self.__dict__)  # notes included


class RequestRejected(CountermarkError):
    """A well-formed request that we will not carry out as it stands."""

    code = "request-rejected"


class TokenRejected(RequestRejected):
    """An identity token that is not acceptable: issuer, audience, signature, time or claims.

    Attributes:
        reason: one of a few words of ours; a metric's label.
    """

    code = "token-rejected"

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class PossessionUnproven(RequestRejected):
    """The requester did not show that it holds the private key to be certified."""

    code = "possession-unproven"


class AlgorithmRefused(RequestRejected):
    """A key type, key size, curve or hash outside the allowed list."""

    code = "algorithm-refused"


class DuplicateEntry(RequestRejected):
    """The log holds this entry already, at `log_index` of its tree."""

    code = "duplicate-entry"

    def __init__(self, message: str, log_index: int) -> None:
        super().__init__(message)
        self.log_index = log_index


class LogFrozen(RequestRejected):
    """The log takes no more entries, ever; another one does."""

    code = "log-frozen"


class VerificationError(CountermarkError):
    """The evidence does not prove the claim.

    Attributes:
        found: what the evidence says, in a form to put beside `expected`; empty if that is
            nothing that can be shown.
        expected: what it should have said.
        passed: the checks that passed before.
    """

    code = "verification"

    def __init__(self, message: str = "", *, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected
        self.passed: tuple[object, ...] = ()


class SignatureInvalid(VerificationError):
    """A signature does not verify under the key it should."""

    code = "signature-invalid"


class InclusionInvalid(VerificationError):
    """A log entry, its inclusion proof, its promise or its checkpoint does not hold."""

    code = "inclusion-invalid"


class ConsistencyInvalid(VerificationError):
    """Two tree heads of one log do not extend each other."""

    code = "consistency-invalid"


class ChainInvalid(VerificationError):
    """No certificate path to a trusted authority that is valid at the proven time."""

    code = "chain-invalid"


class SCTInvalid(VerificationError):
    """No trusted certificate-transparency log vouches for the certificate."""

    code = "sct-invalid"


class TimeUnproven(VerificationError):
    """No trusted party says when the signature existed, or it was the wrong time."""

    code = "time-unproven"


class IdentityMismatch(VerificationError):
    """Somebody else signed: the identity or issuer is not the expected one."""

    code = "identity-mismatch"


class SignerChanged(IdentityMismatch):
    """Another signer than the one that was remembered."""

    code = "signer-changed"


class SignerUnknown(IdentityMismatch):
    """The signature holds, but nobody said who is expected to have signed."""

    code = "signer-unknown"


class NoneMatches(VerificationError):
    """There are several signatures, and none of them is what was asked for.

    Attributes:
        refusals: code, message, found and expected of each, in their order.
    """

    code = "none-matches"

    def __init__(self, message: str = "", refusals: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.refusals = refusals


class Distrusted(VerificationError):
    """It all holds, but a distrust list says not to believe it."""

    code = "distrusted"


class NotFound(CountermarkError):
    """Nothing exists under the name asked for."""

    code = "not-found"


class Unavailable(CountermarkError):
    """Cannot be done now; the same request may succeed later."""

    code = "unavailable"


class Pushback(Unavailable):
    """Too much is queued. Wait `retry_after_s` seconds."""

    code = "pushback"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamDown(Unavailable):
    """Another service that this one needs did not answer."""

    code = "upstream-down"


class Conflict(CountermarkError):
    """The stored state is not the one the caller read."""

    code = "conflict"


class InvariantBroken(CountermarkError):
    """Our bug, or a damaged store. Stop the log; an operator must look."""

    code = "invariant-broken"


class OutcomeUnknown(InvariantBroken):
    """A write failed half way: it may be durable or not. Only a fresh process can tell."""

    code = "outcome-unknown"


class SettingsError(CountermarkError):
    """The configuration cannot be used; all faults are listed at once."""

    code = "settings"
