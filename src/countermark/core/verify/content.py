# SPDX-License-Identifier: Apache-2.0
"""Step 6: the signature over the artifact itself, or over a statement that lists it."""

from collections.abc import Sequence

from countermark.core.bundle.bundle import HASH_ALGORITHMS, Content
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    RequestRejected,
    SignatureInvalid,
)
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope
from countermark.core.intoto.statement import (
    ANY_SUMMARY,
    Statement,
    Subject,
    parse_statement,
)
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.evidence import Check


def check_hint(content: Content, artifact: Artifact) -> None:
    """Check the digest that a plain signature's bundle names, if it does.

    Nobody signed it, but a changed file is best told of by what was wrong with it.
    """
    if isinstance(content, Envelope) or not content.digest:
        return
    hash_name = HASH_ALGORITHMS.get(content.hash_algorithm)
    if hash_name is None:
        raise FormatError("messageDigest", "is of an unknown algorithm")
    actual = artifact.digest(hash_name)
    if actual != content.digest:
        raise SignatureInvalid(
            "the artifact is not the one that was signed",
            found=f"{hash_name}:{actual.hex()}, the artifact's",
            expected=f"{hash_name}:{content.digest.hex()[:128]}, in the bundle",
        )


def unlogged_uses(content: Content, key: PublicKey) -> tuple[PublicKey, ...]:
    """How a key signs where no log entry says how: with its usual hash, Ed25519 prehashed.

    Raises AlgorithmRefused for keys that sign no digest, and so no artifact.
    """
    if isinstance(content, Envelope):
        return envelope_uses(key)
    for use in key.uses:
        if use.hash_name:
            return (use,)
    raise AlgorithmRefused(f"a {key.details} key signs no digest of an artifact")


def envelope_uses(key: PublicKey) -> tuple[PublicKey, ...]:
    """How a key signs envelopes: as usual, or with SHA-256 whatever its curve, as API v1 does."""
    return tuple(use for use in key.uses if use == key or use.details.startswith("PKIX_ECDSA"))


def check_signature(
    content: Content, artifact: Artifact, uses: Sequence[tuple[PublicKey, ...]]
) -> tuple[Statement | None, Check]:
    """Check the signature.

    Args:
        content: signature or envelope.
        artifact: what it must be about.
        uses: for each log entry, the ways in which the signer's key may have been used; it
            must verify in one of them each.

    Raises SignatureInvalid, FormatError for a statement that is none, RequestRejected if the
    artifact is known under another digest only.
    """
    if isinstance(content, Envelope):
        return _check_envelope(content, artifact, uses)
    for (use,) in set(uses):
        digest = artifact.digest(use.hash_name)
        use.verify_digest(content.signature, digest, use.hash_name, "signature")
    use = uses[0][0]
    check = Check(
        "signature",
        "over the artifact",
        6,
        f"the artifact's {use.hash_name}:{artifact.digest(use.hash_name).hex()}",
        f"what key sha256:{use.key_id.hex()} signed",
        f"the signature verifies over that digest ({use.details})",
    )
    return None, check


def _check_envelope(
    envelope: Envelope, artifact: Artifact, uses: Sequence[tuple[PublicKey, ...]]
) -> tuple[Statement, Check]:
    signature, message = envelope.signatures[0].sig, envelope.pae()
    # Every entry's ways: what one of them says must not excuse another.
    use, *_ = [_verifying(ways, signature, message) for ways in dict.fromkeys(uses)]
    if envelope.payload_type != PAYLOAD_TYPE_IN_TOTO:
        named = envelope.payload_type[:200]
        raise SignatureInvalid(
            f"a {named!r} payload names no artifact",
            found=named,
            expected=PAYLOAD_TYPE_IN_TOTO,
        )
    statement = parse_statement(envelope.payload)
    if statement.predicate_type.startswith(ANY_SUMMARY):
        from countermark.core.intoto.verification_summary import check_any_summary  # few are

        check_any_summary(envelope.payload)  # one that says FAILED must not end in "verified"
    subject = _subject(statement, artifact)
    check = Check(
        "signature",
        f"over a statement about {subject.name or 'the artifact'}",
        6,
        f"the statement's subject with {_digests(subject)}",
        "the artifact's digests",
        f"key sha256:{use.key_id.hex()} signed the whole envelope ({use.details}), and the "
        "artifact has every digest that this subject names",
    )
    return statement, check


def _verifying(ways: tuple[PublicKey, ...], signature: bytes, message: bytes) -> PublicKey:
    *others, last = ways
    for use in others:
        try:
            use.verify(signature, message, "signature")
        except SignatureInvalid:
            continue
        return use
    last.verify(signature, message, "signature")
    return last


def _subject(statement: Statement, artifact: Artifact) -> Subject:
    unknown: RequestRejected | None = None
    compared: dict[str, str] = {}

    def same(hash_name: str, digest: bytes) -> bool:
        actual = artifact.digest(hash_name)
        compared[hash_name] = actual.hex()
        return actual == digest

    for subject in statement.subjects:
        try:
            if subject.digests and all(same(*item) for item in subject.digests.items()):
                return subject
        except RequestRejected as error:  # the one digest at hand is of another algorithm
            unknown = error
    more = len(statement.subjects) - 4
    actual = ", ".join(f"{name}:{value}" for name, value in compared.items())
    raise unknown or SignatureInvalid(
        "the signed statement is about other artifacts",
        found=f"{actual}, the artifact's" if actual else "an artifact",
        expected="; ".join(map(_digests, statement.subjects[:4]))
        + (f" and {more} more" if more > 0 else ""),
    )


def _digests(subject: Subject) -> str:
    known = ", ".join(f"{name}:{value.hex()}" for name, value in subject.digests.items())
    name = f" ({subject.name[:80]})" if subject.name else ""
    return f"{known or 'no digest known here'}{name}"
