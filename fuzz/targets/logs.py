# SPDX-License-Identifier: Apache-2.0
"""Notes, proofs, tiles, certificate transparency, and log API v1."""

import json
from contextlib import suppress

from countermark.core.ct.leaf import TimestampedEntry, parse_extra_data
from countermark.core.ct.sct import SignedCertificateTimestamp, parse_sct_list, serialize_sct_list
from countermark.core.ct.static_ct import (
    DATA_TILES,
    TileLeaf,
    parse_checkpoint_signature,
    parse_leaf_index,
)
from countermark.core.errors import (
    AlgorithmRefused,
    ConsistencyInvalid,
    FormatError,
    InclusionInvalid,
    VerificationError,
)
from countermark.core.rekor.entry import EntryRejected
from countermark.core.rekor.kinds import admit, canonicalize_query
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.tlog import merkle
from countermark.core.tlog.bundles import ENTRIES, ENTRIES32
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.integrate import split_hashes
from countermark.core.tlog.note import NoteKey, SignedNote, check_name
from countermark.core.tlog.tiles import parse_path
from countermark.core.wire import ct
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from fuzz.target import Refusals, Target, any_of


def _note(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        note = SignedNote.parse(data)
        assert note.serialize() == data
        assert Checkpoint.parse(note.text).serialize() == note.text
        taken = True
    with Refusals(FormatError):
        assert Checkpoint.parse(data).serialize() == data
        taken = True
    text = data.decode("utf-8", "replace")
    with Refusals(FormatError):
        check_name(text)
        assert len(text.split()) == 1
    with Refusals(FormatError, AlgorithmRefused):
        NoteKey.parse(text)
        taken = True
    return taken


def _merkle(data: bytes) -> bool:
    """Two numbers of eight bytes, then hashes: the leaf or old root, the root, the proof."""
    index, size = int.from_bytes(data[:8]), int.from_bytes(data[8:16])
    index, size = (number % (1 << (number >> 58)) for number in (index, size))  # of every length
    hashes = [data[at : at + 32] for at in range(16, len(data), 32)]
    leaf, root, *proof = [*hashes, b"", b""][: max(2, len(hashes))]
    taken = False
    with Refusals(InclusionInvalid):
        merkle.verify_inclusion(leaf, index, size, proof, root)
        assert 0 <= index < size
        taken = True
    with Refusals(InclusionInvalid):
        made = merkle.root_from_inclusion(leaf, index, size, proof)
        merkle.verify_inclusion(leaf, index, size, proof, made)
        taken = True
    with Refusals(ConsistencyInvalid):
        merkle.verify_consistency(index, size, leaf, root, proof)
        assert 0 < index <= size
        taken = True
    return taken


def _tiles(data: bytes) -> bool:
    taken = False
    for codec in (ENTRIES, ENTRIES32, DATA_TILES):
        with Refusals(FormatError):
            assert b"".join(map(codec.frame, codec.split(data))) == data
            taken = True
    with Refusals(FormatError):
        text = data.decode("latin-1")
        assert parse_path(text).path == text
    with Refusals(FormatError):
        assert b"".join(split_hashes(data)) == data
    return taken


def _ct_structures(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        assert TimestampedEntry.parse_merkle_tree_leaf(data).merkle_tree_leaf() == data
        taken = True
    with Refusals(FormatError):
        assert TileLeaf.parse(data).serialize() == data
        taken = True
    with Refusals(FormatError):
        assert SignedCertificateTimestamp.parse(data).serialize() == data
        taken = True
    with Refusals(FormatError):
        assert serialize_sct_list(parse_sct_list(data)) == data
        taken = True
    others = any_of(
        lambda data: parse_extra_data(0, data),
        lambda data: parse_extra_data(1, data),
        parse_leaf_index,
        parse_checkpoint_signature,
        DATA_TILES.leaf_hash,
        but=(FormatError,),
    )
    return others.run(data) or taken


def _ct_request(data: bytes) -> bool:
    with Refusals(FormatError):
        chain = ct.parse_add_chain_request(data)
        assert ct.parse_add_chain_request(ct.add_chain_request(chain)) == chain
        return True
    return False


def _proposal(data: bytes) -> bool:
    with Refusals(requests.BadRequest, EntryRejected):
        proposal = requests.read_proposal(data)
        with Refusals(EntryRejected):
            canonicalize_query(proposal.kind, proposal.version, proposal.spec)
        entry = admit(proposal.kind, proposal.version, proposal.spec)
        tree = json.loads(entry.body)
        assert tree["kind"] == entry.kind
        assert set(stored_search_keys(entry.body)) <= set(entry.search_keys)
        spec = json.dumps(tree["spec"]).encode()
        found = canonicalize_query(entry.kind, entry.version, spec)
        assert found is not None
        assert found.body == entry.body, "a canonical body is not its own"
        return True
    return False


def _query(data: bytes) -> bool:
    taken = False
    with Refusals(requests.BadRequest):
        query = requests.read_query(data)
        assert len(query.entry_ids) + len(query.log_indexes) + len(query.entries) <= 10
        taken = True
        for entry_id in query.entry_ids:
            requests.parse_entry_id(entry_id)
        for entry in query.entries:
            with Refusals(EntryRejected):
                canonicalize_query(entry.kind, entry.version, entry.spec)
    text = data.decode("utf-8", "replace")
    with Refusals(requests.BadRequest):
        requests.read_entry_id(text)
        taken = True
    with Refusals(requests.BadRequest):
        assert 0 <= requests.read_integer([text], "x", minimum=0) < 2**63
    with Refusals(requests.BadRequest):
        requests.read_tree_id([text])
    return taken


def _log_reply(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        _, entry = wire.parse_log_entry(data)
        taken = True
        with Refusals(FormatError):
            stored_search_keys(entry.canonicalized_body)
    with Refusals(FormatError):
        stored_search_keys(data)
        taken = True
    with suppress(UnicodeEncodeError):
        assert len(wire.parse_error(data).encode()) <= 3 * len(data)
    others = any_of(
        wire.parse_log_info,
        wire.parse_all_heads,
        wire.parse_consistency,
        ct.parse_add_chain_reply,
        ct.parse_tree_head_reply,
        ct.parse_consistency_reply,
        ct.parse_proof_reply,
        ct.parse_entries_reply,
        ct.parse_roots_reply,
        but=(FormatError, VerificationError, AlgorithmRefused),
    )
    return others.run(data) or taken


TARGETS = (
    Target("note", _note, 4096),
    Target("merkle", _merkle, 16 + 70 * 32),
    Target("tiles", _tiles, 8192),
    Target("ct-structures", _ct_structures, 4096),
    Target("ct-request", _ct_request),
    Target("log-entry", _proposal),
    Target("log-query", _query),
    Target("log-reply", _log_reply),
)
