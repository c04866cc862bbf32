# SPDX-License-Identifier: Apache-2.0
"""Any bytes are a policy or a FormatError; a policy that is read can be asked about anybody."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError, IdentityMismatch
from countermark.core.policy.document import PolicyDocument
from countermark.core.policy.same_signer import compare
from countermark.core.policy.versions import without_version
from countermark.core.verify.claims import CLAIMS
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity

texts = st.text(max_size=6) | st.sampled_from(["*", "x", "a/b", "(", "refs/tags/v*", "https://x"])
keys = st.sampled_from(
    ["any", "all", "identity", "issuer", "identity-regex", "issuer-regex", "files", "keys", "file",
     "sha256", "extensions", "regex", "x", *CLAIMS]
)  # fmt: skip
values = st.recursive(
    texts | st.integers(-1, 2) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
documents = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "root": values,
        "thresholds": values,
        "artifact": st.lists(st.dictionaries(keys, values, max_size=4), max_size=2) | values,
    },
)
signers = st.builds(
    SignerIdentity,
    st.sampled_from(["email", "uri"]),
    texts,
    texts,
    st.dictionaries(st.sampled_from(sorted(EXTENSION_NAMES)), texts, max_size=5).map(
        lambda items: tuple(sorted(items.items()))
    ),
)


def toml(value: Any) -> str:
    """A value as inline TOML, whose texts are JSON's but for the escapes of surrogates."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def ask(data: bytes, signer: SignerIdentity) -> None:
    with contextlib.suppress(FormatError):
        for rule in PolicyDocument.parse(data).rules:
            if rule.policy is not None:
                with contextlib.suppress(IdentityMismatch):
                    rule.policy.check(signer)


@given(st.binary(max_size=200), signers)
def test_any_bytes(data: bytes, signer: SignerIdentity) -> None:
    ask(data, signer)


@given(documents, signers)
def test_any_tree(tree: dict[str, Any], signer: SignerIdentity) -> None:
    lines = "\n".join(f"{key} = {toml(value)}" for key, value in tree.items())
    ask(lines.encode(), signer)


@given(signers, signers)
def test_signers_are_the_same_as_themselves_and_in_both_directions(
    one: SignerIdentity, other: SignerIdentity
) -> None:
    assert compare(one, one).same
    assert not compare(one, one).notes
    assert compare(one, other).same == compare(other, one).same


@given(st.text(max_size=40))
def test_the_version_of_any_name(name: str) -> None:
    found = without_version(name)
    assert found == name or "*" in found
