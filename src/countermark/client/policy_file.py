# SPDX-License-Identifier: Apache-2.0
"""Policy files on disk: read once, checked against their own signature if the user wants that.

What a policy refers to is looked for beside it. A signed policy must fix the content of every
file that it refers to, or its signature would say nothing about whom it makes us believe.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial

from countermark.client.keys.several import first_that_holds
from countermark.client.verify import (
    Root,
    Source,
    as_artifact,
    bundle_path,
    choose_root,
    named_root,
    read_bundle,
    read_file,
    root_of,
)
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_utf8
from countermark.core.errors import (
    FormatError,
    IdentityMismatch,
    RequestRejected,
)
from countermark.core.policy.document import (
    MAX_POLICY_BYTES,
    FileReference,
    PolicyDocument,
    Rule,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy
from countermark.core.verify.verifier import Expected
from countermark.core.verify.witness import MAX_POLICY_BYTES as MAX_WITNESS_POLICY_BYTES
from countermark.core.verify.witness import WitnessPolicy

_MAX_KEY_BYTES = 64 * 1024


class PolicyFile:
    """A policy with the folder it lies in. What it refers to is read when it is needed."""

    def __init__(self, path: str, data: bytes) -> None:
        """Parse the content of `path`. Raises FormatError that names what is wrong."""
        self.path = path
        self.document = PolicyDocument.parse(data, path)
        self._data = data
        self._keys: dict[FileReference, PublicKey] = {}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "PolicyFile":
        """Read a policy. Raises NotFound, FormatError, OSError."""
        name = os.fspath(path)
        return cls(name, read_file(name, MAX_POLICY_BYTES))

    def check_signature(
        self,
        policy: Policy,
        root: Root | None,
        bundle: str = "",
        *,
        distrust: Sequence[bytes] = (),
    ) -> Evidence:
        """Check that whom `policy` names signed these very bytes.

        Args:
            policy: who must have.
            root: whom to believe about that; None to choose by the bundle's logs.
            bundle: path of the signature, if it is not beside the policy.
            distrust: distrust lists to heed besides those of the root, as files.

        Raises VerificationError, NotFound, FormatError; RequestRejected if the policy refers to
        a file without fixing its content.
        """
        signature = read_bundle(bundle or bundle_path(self.path))
        chosen = root or choose_root(signature)
        evidence = _under(chosen, distrust)(signature, BytesArtifact(self._data), policy)
        loose = [file.path for file in self.document.references() if not file.sha256]
        if loose:
            error = RequestRejected(
                f"the policy is signed, but what {loose[0][:200]} holds is not: it has no sha256"
            )
            error.add_note(f"add the sha256 of {loose[0][:200]} to the policy, and sign it again")
            raise error
        return evidence

    @cached_property
    def root(self) -> Root | None:
        """The root that the policy names; None if it names none. Raises SettingsError etc."""
        reference = self.document.root
        if reference is None:
            return None
        if reference.file is None:
            return named_root(reference.instance)
        data = self._read(reference.file, MAX_TRUSTED_ROOT_BYTES)
        return root_of(self._path(reference.file), data)

    @cached_property
    def witnesses(self) -> WitnessPolicy | None:
        """The witness policy that it refers to; None if there is none."""
        reference = self.document.witnesses
        if reference is None:
            return None
        return WitnessPolicy.parse(self._read(reference, MAX_WITNESS_POLICY_BYTES))

    def verify(
        self,
        name: str,
        bundle: Bundle | bytes,
        source: Source,
        root: Root | None = None,
        *,
        distrust: Sequence[bytes] = (),
    ) -> Evidence:
        """Check that whom the policy accepts for a file of that name signed it.

        Args:
            name: of the file, its folder left out.
            bundle: its signature, parsed or as JSON.
            source: the file: a path object, bytes, an open binary file, or a digest.
            root: whom to believe if the policy does not say; None to choose by the bundle's logs.
            distrust: distrust lists to heed besides those of the root, as files.

        Raises VerificationError, FormatError, NotFound, SettingsError.
        """
        if isinstance(bundle, bytes):
            bundle = Bundle.parse(bundle)
        parsed, artifact = bundle, as_artifact(source)
        rule = self.document.rule_for(name)
        chosen = self.root or root or choose_root(parsed)
        accepted = self._accepted(rule, parsed)

        def check(expected: Expected) -> Evidence:
            return _under(chosen, distrust)(
                parsed, artifact, expected, rule.thresholds, witnesses=self.witnesses
            )

        return (
            check(accepted[0]) if len(accepted) == 1 else first_that_holds(parsed, accepted, check)
        )

    def check(self) -> None:
        """Read everything that the policy refers to, so that what is wrong shows now."""
        assert self.root is None or self.root.name
        assert self.witnesses is None or self.witnesses.quorum
        for rule in self.document.rules:
            for reference in rule.keys:
                self._key(reference)

    def _accepted(self, rule: Rule, bundle: Bundle) -> list[Expected]:
        """Whom a rule accepts for this bundle: its identities, or each of its keys."""
        if bundle.public_key_hint is None:
            if rule.policy is None:
                raise IdentityMismatch(
                    "the policy accepts certain keys only, and the bundle has a certificate"
                )
            return [rule.policy]
        if not rule.keys:
            raise IdentityMismatch("the policy accepts no key, and the bundle was signed with one")
        return [self._key(reference) for reference in rule.keys]

    def _key(self, reference: FileReference) -> PublicKey:
        if reference not in self._keys:
            text = from_utf8(self._read(reference, _MAX_KEY_BYTES), reference.path)
            self._keys[reference] = PublicKey.from_pem(text, registry=True)
        return self._keys[reference]

    def _path(self, reference: FileReference) -> str:
        return os.path.join(os.path.dirname(self.path), reference.path)

    def _read(self, reference: FileReference, limit: int) -> bytes:
        path = self._path(reference)
        data = read_file(path, limit)
        digest = hashlib.sha256(data).digest()
        if reference.sha256 and digest != reference.sha256:
            raise FormatError(path, "is not the file that the policy means: its sha256 is another")
        return data


def _under(root: Root, distrust: Sequence[bytes]) -> Callable[..., Evidence]:
    """`Root.verify`, heeding more distrust lists if there are any."""
    if not distrust:
        return root.verify
    from countermark.client.distrust import verify_heeding  # few name any

    return partial(verify_heeding, root, distrust)
