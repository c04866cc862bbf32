# SPDX-License-Identifier: Apache-2.0
"""Names of entries and the SET's payload."""

import pytest

from countermark.core.canonical_json import canonical_json
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError
from countermark.core.rekor.set_payload import set_message
from countermark.core.rekor.shard import EntryID, Shard, Shards
from tests.support.rekor import SigningKey, b64

TREE_ID = 2605736670972794746  # of the public log, 0x24296fb24b8ad77a
LEAF = bytes(range(32))


def test_names() -> None:
    shard = Shard(TREE_ID, "rekor.example", PublicKey.from_pem(SigningKey.new().pem))
    assert shard.origin == "rekor.example - 2605736670972794746"
    assert shard.entry_id(LEAF) == "24296fb24b8ad77a" + LEAF.hex()
    assert EntryID.parse(shard.entry_id(LEAF)) == (TREE_ID, LEAF)
    assert shard._replace(tree_id=1).entry_id(LEAF).startswith("0000000000000001")


def test_shards_share_one_row_of_indexes() -> None:
    key = PublicKey.from_pem(SigningKey.new().pem)
    first, second, third = (
        Shard(tree_id, "rekor.example", key, index) for tree_id, index in ((9, 0), (8, 5), (7, 6))
    )
    shards = Shards((first, second), third)
    assert [shards.holding(index) for index in (0, 4, 5, 6, 2**62)] == [
        *(first, first, second, third, third)
    ]
    assert Shards((), second).holding(4) is None
    assert shards.by_search == (third, first, second)
    assert [shards.of_tree(number) for number in (9, 8, 7, 6)] == [first, second, third, None]


def test_shards_without_entries_hold_no_index() -> None:
    key = PublicKey.from_pem(SigningKey.new().pem)
    first, empty, active = (
        Shard(tree_id, "rekor.example", key, index) for tree_id, index in ((9, 0), (8, 5), (7, 5))
    )
    shards = Shards((first, empty), active)
    assert [shards.holding(index) for index in (0, 4, 5)] == [first, first, active]
    assert Shards((first._replace(first_index=0),), empty._replace(first_index=0)).holding(0) == (
        empty._replace(first_index=0)
    )


def test_any_case_and_bare_uuids() -> None:
    assert EntryID.parse(LEAF.hex().upper()) == (None, LEAF)
    assert EntryID.parse("24296FB24B8AD77A" + LEAF.hex()) == (TREE_ID, LEAF)


@pytest.mark.parametrize("tree", ["0" * 16, "8" + "0" * 15, "f" * 16, "0", "g" * 16, "٣" * 16])
def test_impossible_ids(tree: str) -> None:
    with pytest.raises(FormatError):
        EntryID.parse(tree + LEAF.hex())


def test_set_message_is_canonical_json() -> None:
    body, log_id = b'{"\xc3\xa9": 1}', bytes(32)
    expected = canonical_json(
        {
            "body": b64(body),
            "integratedTime": 1_700_000_000,
            "logID": log_id.hex(),
            "logIndex": 2**40,
        }
    )
    assert set_message(body, 1_700_000_000, log_id, 2**40) == expected
