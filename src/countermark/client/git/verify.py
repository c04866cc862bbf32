# SPDX-License-Identifier: Apache-2.0
"""Judging a Git signature: offline, like a bundle, with the same roots and policies.

On the path of `git verify-commit`: nothing slow to import.
"""

from typing import NamedTuple

from countermark.client.verify import Root, choose_root
from countermark.core.cms.git_signature import GitSignature
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.verifier import Expected


class Verified(NamedTuple):
    """A signature that holds.

    Attributes:
        signature: as it was read.
        evidence: who, when, which log, which checks.
    """

    signature: GitSignature
    evidence: Evidence


def verify_signature(
    payload: bytes,
    signature: GitSignature,
    policy: Expected,
    *,
    root: Root | None = None,
) -> Verified:
    """Check that `signature` is of `payload`, and who made it when.

    Args:
        payload: the commit or tag without its signature.
        signature: parsed.
        policy: who may have signed.
        root: whom to believe; None to let the entry's log choose among the user's roots.

    Raises a VerificationError, FormatError for parts of the signature that cannot be read.
    """
    signature.check_payload(payload)
    bundle = signature.bundle()
    chosen = root or choose_root(bundle)
    artifact = BytesArtifact(signature.signed_data.signed_bytes)
    return Verified(signature, chosen.verify(bundle, artifact, policy))
