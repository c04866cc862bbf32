# SPDX-License-Identifier: Apache-2.0
"""Whether two signatures are by the same signer, though versions, refs and names moved on.

Builds are told by numbers that no rename changes: issuer, id of the repository, id of its owner,
and the workflow inside it, without the ref. Everybody else is told by issuer and name.
"""

from typing import NamedTuple

from countermark.core.verify.claims import in_repository, without_ref
from countermark.core.verify.signer import SignerIdentity

_TRIGGERS, _REFS, _REPOSITORIES = (20, 2), (14, 6), (12, 5)


class Difference(NamedTuple):
    """Something that two signers do not have in common.

    Attributes:
        what: e.g. ``workflow``.
        before: empty if the earlier certificate did not say it.
        now: empty if the later one does not say it.
        why: what that means, as a phrase; empty if the words before say it all.
    """

    what: str
    before: str
    now: str
    why: str = ""

    def __str__(self) -> str:
        was = f"was {self.before}" if self.before else "was not stated"
        now = f"now {self.now}" if self.now else "now not stated"
        return f"{self.what} {was}, {now}" + (f" ({self.why})" if self.why else "")


class Comparison(NamedTuple):
    """What became of a signer.

    Attributes:
        changes: what makes it another signer; empty for the same one.
        notes: what else is different, and does not decide.
    """

    changes: tuple[Difference, ...]
    notes: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether it is the same signer."""
        return not self.changes


def marks(signer: SignerIdentity) -> dict[str, str]:
    """What tells this signer from every other one, whatever else changes."""
    repository_id = signer.extension(15)
    ref = _first(signer, _REFS)
    if not repository_id:  # without a ref, an "@" in a name means nothing to us
        name = without_ref(signer.name, ref) if ref and signer.kind == "uri" else signer.name
        return {"issuer": signer.issuer, "identity": name}
    repository = signer.extension(12)
    found: dict[str, str] = {
        "issuer": signer.issuer,
        "repository id": repository_id,
        "owner id": signer.extension(17) or "",
    }
    for what, number in (("workflow", 18), ("signing workflow", 9)):
        found[what] = in_repository(without_ref(signer.extension(number) or "", ref), repository)
    return found


def compare(before: SignerIdentity, now: SignerIdentity) -> Comparison:
    """What changed from one signer to a later one."""
    old, new = marks(before), marks(now)
    changes = [
        Difference(what, old.get(what, ""), new.get(what, ""), _why(what, before, now))
        for what in dict.fromkeys((*old, *new))
        if old.get(what) != new.get(what)
    ]
    return Comparison(tuple(changes), tuple(_notes(before, now)))


def _why(what: str, before: SignerIdentity, now: SignerIdentity) -> str:
    same_id = before.extension(15) == now.extension(15)
    names = _first(before, _REPOSITORIES), _first(now, _REPOSITORIES)
    if what == "owner id" and same_id:
        owners = before.extension(16) or "unknown", now.extension(16) or "unknown"
        return f"the repository went from {owners[0]} to {owners[1]}"
    if what != "repository id" or not (before.extension(15) and now.extension(15)):
        return ""
    if names[0] == names[1]:
        return f"another repository under the same name, {names[0]}"
    return f"{names[0]} and {names[1]}"


def _notes(before: SignerIdentity, now: SignerIdentity) -> list[Difference]:
    notes: list[Difference] = []

    def note(what: str, old: str, new: str, why: str = "") -> None:
        if old != new:
            notes.append(Difference(what, old, new, why))

    if before.extension(15) and before.extension(15) == now.extension(15):
        note(
            "repository", _first(before, _REPOSITORIES), _first(now, _REPOSITORIES),
            "renamed: its id is the same",
        )  # fmt: skip
        if before.extension(17) == now.extension(17):
            owners = before.extension(16) or "", now.extension(16) or ""
            note("owner", *owners, "renamed: its id is the same")
    note("kind of ref", _ref_kind(before), _ref_kind(now))
    note("trigger", _first(before, _TRIGGERS), _first(now, _TRIGGERS))
    for what, number in (("runner", 11), ("visibility", 22), ("environment", 23)):
        note(what, before.extension(number) or "", now.extension(number) or "")
    return notes


def _ref_kind(signer: SignerIdentity) -> str:
    """``tag``, ``pull request``, or the branch itself: tags change with every version."""
    ref = _first(signer, _REFS)
    if ref.startswith("refs/tags/"):
        return "tag"
    if ref.startswith(("refs/pull/", "refs/merge-requests/")):
        return "pull request"
    return ref


def _first(signer: SignerIdentity, numbers: tuple[int, ...]) -> str:
    return next((text for number in numbers if (text := signer.extension(number))), "")
