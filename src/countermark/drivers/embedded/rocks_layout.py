# SPDX-License-Identifier: Apache-2.0
"""How the embedded store lays out RocksDB: families, their tuning, keys and values.

Numbers are big-endian, a log's number has 4 bytes::

    default   "L" name             → log number
              "H" log              → head
              "P" log              → published size
    rows      log identity         → index 8, time_ms 8, promise
    search    log len(key) 2 key index 8 → (empty)
    staged    log first index 8    → the leaves of one round, msgpack

Rows are found by exact key and have a Bloom filter; search rows are only scanned and have none.
Staged rounds live apart so that their bytes, soon deleted, never reach the other families' files.
"""

import struct
from collections.abc import Iterable

import msgspec
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options

from countermark.ports.log_store import EntryRow, Head, StagedLeaf

ROWS, SEARCH, STAGED = "rows", "search", "staged"
LOG_NUMBER = struct.Struct(">I")
SIZE = struct.Struct(">Q")
ROW = struct.Struct(">QQ")

_HEAD = struct.Struct(">QQ32s")
_MIB = 1024 * 1024
_MEMTABLES_BYTES = 32 * _MIB  # of all families together; the rest of the budget is Python's
_CACHE_BYTES = 64 * _MIB
_WAL_BYTES = 64 * _MIB  # replayed at start: bounds how long that takes
_BLOOM_BITS = 10

# identity, record, time_ms, promise, search keys; the index follows from the key and the place.
_Staged = list[tuple[bytes, bytes, int, bytes, tuple[bytes, ...]]]
_encode_staged = msgspec.msgpack.Encoder().encode
_decode_staged = msgspec.msgpack.Decoder(_Staged).decode


def open_options() -> tuple[Options, dict[str, Options]]:
    """How the database is opened: its own options, and those of each family."""
    cache = Cache(_CACHE_BYTES)

    def family(*, bloom: bool) -> Options:
        options = Options(raw_mode=True)
        table = BlockBasedOptions()
        table.set_block_cache(cache)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        if bloom:
            table.set_bloom_filter(_BLOOM_BITS, False)
            options.set_memtable_prefix_bloom_ratio(0.02)
            options.set_memtable_whole_key_filtering(True)
        options.set_block_based_table_factory(table)
        options.set_compression_type(DBCompressionType.none())  # hashes and signatures
        options.set_write_buffer_size(_MEMTABLES_BYTES // 2)
        options.set_level_compaction_dynamic_level_bytes(True)
        return options

    database = family(bloom=False)
    database.set_db_write_buffer_size(_MEMTABLES_BYTES)
    database.set_max_total_wal_size(_WAL_BYTES)
    database.set_max_background_jobs(2)
    database.set_max_open_files(512)
    database.set_keep_log_file_num(2)
    database.set_stats_dump_period_sec(0)
    database.set_paranoid_checks(True)
    # The default would open silently at the first damaged record and lose what follows it. A
    # torn tail is what a crash leaves; damage before it is an error.
    database.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    return database, {
        ROWS: family(bloom=True),
        SEARCH: family(bloom=False),
        STAGED: family(bloom=False),
    }


def search_prefix(number: bytes, key: bytes) -> bytes:
    """What the search rows of a key start with; their indexes follow."""
    return number + len(key).to_bytes(2) + key


def encode_head(head: Head) -> bytes:
    """A head as it is stored."""
    return _HEAD.pack(head.tree_size, head.time_ms, head.root_hash) + head.signed


def decode_head(data: bytes) -> Head:
    """Inverse of `encode_head`."""
    tree_size, time_ms, root_hash = _HEAD.unpack_from(data)
    return Head(tree_size, root_hash, time_ms, data[_HEAD.size :])


def decode_row(data: bytes) -> EntryRow:
    """An index row as it is stored: `ROW` and the promise."""
    index, time_ms = ROW.unpack_from(data)
    return EntryRow(index, time_ms, data[ROW.size :])


def encode_round(leaves: Iterable[StagedLeaf]) -> bytes:
    """The leaves of one round."""
    return _encode_staged(
        [
            (leaf.identity, leaf.record, leaf.time_ms, leaf.promise, leaf.search_keys)
            for leaf in leaves
        ]
    )


def decode_round(first: int, data: bytes) -> list[StagedLeaf]:
    """Inverse of `encode_round`; `first` is the index of the first leaf."""
    return [
        StagedLeaf(index, identity, record, time_ms, promise, keys)
        for index, (identity, record, time_ms, promise, keys) in enumerate(
            _decode_staged(data), first
        )
    ]
