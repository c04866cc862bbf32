# SPDX-License-Identifier: Apache-2.0
"""Heeding distrust lists: those of the instance that is believed, and files that the user names.

A list is only as good as how it came here: with the user's registry (through TUF, or from the
data directory of an instance of this machine), or in a file that the user named.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from countermark.client.verify import Root, read_file
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.distrust.check import check_distrust, prune, refusal_of
from countermark.core.distrust.document import MAX_LIST_BYTES, DistrustList
from countermark.core.errors import VerificationError
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.evidence import Check, Evidence
from countermark.core.verify.verifier import ONE_OF_EACH, Expected, Thresholds

if TYPE_CHECKING:
    from countermark.core.verify.witness import WitnessPolicy


def heed(
    bundle: Bundle,
    evidence: Evidence,
    root: TrustedRoot,
    lists: Sequence[bytes],
    again: Callable[[TrustedRoot], Evidence],
) -> Evidence:
    """The evidence, if no list speaks against it.

    Without the logs and authorities that a list distrusts, the rest must do: then the signature
    is verified once more under that.

    Args:
        bundle: what was verified.
        evidence: what that proved.
        root: under which root.
        lists: as files.
        again: verifies under another root.

    Raises Distrusted, FormatError for a list that cannot be read.
    """
    known = [_parsed(data) for data in lists]
    pruned = prune(root, known, [proven.time for proven in evidence.times])
    if pruned is not None:
        try:
            evidence = again(pruned.root)
        except VerificationError as error:
            raise refusal_of(pruned) from error
    detail = check_distrust(bundle, evidence, known)
    return evidence._replace(checks=(*evidence.checks, Check("distrust", f"nothing in {detail}")))


def verify_heeding(
    root: Root,
    lists: Sequence[bytes],
    bundle: Bundle,
    artifact: Artifact,
    policy: Expected,
    thresholds: Thresholds = ONE_OF_EACH,
    *,
    witnesses: "WitnessPolicy | None" = None,
) -> Evidence:
    """Verify as `Root.verify` does, heeding `lists` besides those of the root."""
    evidence = root.verify(bundle, artifact, policy, thresholds, witnesses=witnesses)

    def again(pruned: TrustedRoot) -> Evidence:
        rest = Root(root.name, pruned, root.own_url, root.distrust)
        return rest.verify(bundle, artifact, policy, thresholds, witnesses=witnesses)

    return heed(bundle, evidence, root.trusted_root, lists, again) if lists else evidence


def read_lists(paths: Sequence[str]) -> tuple[bytes, ...]:
    """Distrust lists that the user names, checked. Raises NotFound, FormatError, OSError."""
    found = tuple(read_file(path, MAX_LIST_BYTES) for path in paths)
    for data in found:
        _parsed(data)
    return found


@lru_cache(maxsize=16)
def _parsed(data: bytes) -> DistrustList:
    return DistrustList.parse(data)
