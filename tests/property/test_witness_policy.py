# SPDX-License-Identifier: Apache-2.0
"""Witness policies of any bytes: a policy or FormatError; and quorums grow with their members."""

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError
from countermark.core.verify.witness import WitnessPolicy
from tests.support.witnesses import MadeWitness

KEYS = [MadeWitness(f"w{number}.example").vkey() for number in range(6)]
WORDS = st.sampled_from(
    ["log", "witness", "group", "quorum", "any", "all", "none", "0", "1", "#", "A", "B", "G", *KEYS]
)
LINES = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=12).map("\n".join)


@given(st.binary(max_size=300) | LINES.map(str.encode))
def test_any_bytes_are_a_policy_or_a_format_error(data: bytes) -> None:
    try:
        policy = WitnessPolicy.parse(data)
    except FormatError:
        return
    assert policy.satisfied(list(policy.witnesses))


@given(st.data())
def test_one_more_witness_never_loses_a_quorum(data: st.DataObject) -> None:
    names = [f"w{number}" for number in range(len(KEYS))]
    text = "".join(f"witness {name} {key}\n" for name, key in zip(names, KEYS, strict=True))
    free = list(names)
    for number in range(data.draw(st.integers(1, 4))):
        members = data.draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        threshold = data.draw(st.integers(1, len(members)))
        text += f"group g{number} {threshold} {' '.join(members)}\n"
        free = [name for name in free if name not in members] + [f"g{number}"]
    policy = WitnessPolicy.parse(f"{text}quorum {data.draw(st.sampled_from(free))}\n".encode())
    assert policy.satisfied(names)
    some = data.draw(st.lists(st.sampled_from(names), unique=True))
    more = [*some, data.draw(st.sampled_from(names))]
    assert policy.satisfied(more) or not policy.satisfied(some)
