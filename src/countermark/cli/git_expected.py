# SPDX-License-Identifier: Apache-2.0
"""Who must have signed a commit or tag: as the command line says it, else Git's configuration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from countermark.cli.arguments import Arguments
from countermark.cli.expected import CLAIM_OPTIONS, ROOTS, policies_of, usage
from countermark.client.git.settings import GitSettings, chosen
from countermark.client.git.verify import Checkable
from countermark.client.verify import Root, named_root, root_from_file
from countermark.core.errors import RequestRejected, SignerUnknown
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.verifier import Expected

if TYPE_CHECKING:
    from countermark.client.policy_file import PolicyFile

_IDENTITIES = ("identity", "issuer", "identity-regex", "issuer-regex", "extension", *CLAIM_OPTIONS)
WHO = (*_IDENTITIES, "policy")
OPTIONS = (*WHO, *ROOTS)
FLAGS = ("unsafe-any-identity",)


class Expectation(NamedTuple):
    """Who must have signed, and whom to believe.

    Attributes:
        policy: one for all; None if a file says it for each, or nobody does.
        policy_file: the file, if there is one.
        root: None to let the log in the signature choose.
    """

    policy: "Expected | None"
    policy_file: "PolicyFile | None"
    root: Root | None

    @property
    def names_somebody(self) -> bool:
        """Whether anybody is expected at all."""
        return self.policy is not None or self.policy_file is not None

    def verify(self, name: str, checked: Checkable) -> Evidence:
        """Judge a signature of what a policy file calls `name`.

        Raises SignerUnknown, with who it was, if nobody is expected and the signature holds;
        else what `Root.verify` raises.
        """
        bundle, artifact, root = checked
        if self.policy_file is not None:
            return self.policy_file.verify(name, bundle, artifact, root)
        if self.policy is not None:
            return root.verify(bundle, artifact, self.policy)
        signer = root.verify(bundle, artifact, UnsafeAnyIdentity()).signer
        assert signer is not None
        who = f"{signer.name} ({signer.issuer})"
        error = SignerUnknown(f"signed by {who}, and nobody said who is expected", found=who)
        error.add_note(
            "if that is whom you expect, say so with --identity and --issuer, or have"
            " `countermark git setup` remember them"
        )
        raise error


def name_in_policies(kind: str, tag: str) -> str:
    """What policy files call a commit, or a tag of that name."""
    return f"git-tag-{tag}" if kind == "tag" else "git-commit"


def expectation(
    arguments: Arguments, settings: GitSettings, environ: Mapping[str, str]
) -> Expectation:
    """What the command line says, and else Git's configuration.

    Raises RequestRejected, also for files that cannot be read, and what reading them raises.
    """
    try:
        return _expectation(arguments, settings, environ)
    except OSError as error:
        raise RequestRejected(f"{error.filename} cannot be read: {error.strerror}") from error


def _expectation(
    arguments: Arguments, settings: GitSettings, environ: Mapping[str, str]
) -> Expectation:
    values = dict(arguments.values)
    if not any(name in values for name in (*WHO, *FLAGS)):
        values |= chosen(settings, WHO)
    variables = [f"COUNTERMARK_{name.upper().replace('-', '_')}" for name in ROOTS]
    named = {name: arguments.one(name) for name in ROOTS}
    if not any(named.values()):
        named = {name: environ.get(key, "") for name, key in zip(ROOTS, variables, strict=True)}
    if not any(named.values()):
        named = {name: settings.one(name) for name in ROOTS}
    said = Arguments(values, ())
    policies, path = policies_of(said), said.one("policy")
    if path and policies:
        raise usage("the policy says who must have signed", "use it alone")
    root = _root({name: value for name, value in named.items() if value})
    if path:
        from countermark.client.policy_file import PolicyFile

        file = PolicyFile.read(path)
        if root is not None and file.root is not None and any(name in values for name in ROOTS):
            raise usage("the policy says whom to believe, and so does a flag", "say it once")
        return Expectation(None, file, file.root or root)
    return Expectation(policies[0] if policies else None, None, root)


def _root(named: Mapping[str, str]) -> Root | None:
    if not named:
        return None
    if len(named) > 1:
        raise usage("whom to believe is said in more than one way", "say it once")
    ((way, value),) = named.items()
    return named_root(value) if way in ("instance", "url") else root_from_file(value)
