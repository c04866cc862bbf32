# SPDX-License-Identifier: Apache-2.0
"""Judging a Git signature: offline, like a bundle, with the same roots and policies.

On the path of `git verify-commit`: nothing slow to import.
"""

from typing import NamedTuple

from countermark.client.verify import Root, choose_root
from countermark.core.bundle.bundle import Bundle
from countermark.core.cms.git_signature import GitSignature
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.verifier import Expected


class Checkable(NamedTuple):
    """A signature that is of the right object, as the bundle that is left to be judged.

    Attributes:
        bundle: about `artifact`.
        artifact: the signature's signed attributes.
        root: whom to believe.
    """

    bundle: Bundle
    artifact: BytesArtifact
    root: Root


def checkable(payload: bytes, signature: GitSignature, root: Root | None = None) -> Checkable:
    """Check that a signature is of `payload`; the bundle it then is.

    Args:
        payload: the commit or tag without its signature.
        signature: parsed.
        root: whom to believe; None to let the entry's log choose among the user's roots.

    Raises SignatureInvalid, InclusionInvalid, FormatError.
    """
    signature.check_payload(payload)
    bundle = signature.bundle()
    artifact = BytesArtifact(signature.signed_data.signed_bytes)
    return Checkable(bundle, artifact, root or choose_root(bundle))


def verify_signature(
    payload: bytes, signature: GitSignature, policy: Expected, *, root: Root | None = None
) -> Evidence:
    """Check that `signature` is of `payload`, and who made it when; see `checkable`.

    Raises a VerificationError, FormatError for parts of the signature that cannot be read.
    """
    bundle, artifact, believed = checkable(payload, signature, root)
    return believed.verify(bundle, artifact, policy)
