# SPDX-License-Identifier: Apache-2.0
"""What a signed entry timestamp (SET, v1's promise of inclusion) signs."""

from binascii import b2a_base64


def set_message(body: bytes, integrated_time: int, log_id: bytes, log_index: int) -> bytes:
    """Canonical JSON (RFC 8785) over an entry and its place.

    Args:
        body: the canonical body, as hashed into the tree.
        integrated_time: Unix seconds at which the entry was sequenced.
        log_id: SHA-256 of the log key's SPKI, 32 bytes.
        log_index: the global index, across all shards of the log.
    """
    return b'{"body":"%b","integratedTime":%d,"logID":"%b","logIndex":%d}' % (
        b2a_base64(body, newline=False),
        integrated_time,
        log_id.hex().encode("ascii"),
        log_index,
    )
