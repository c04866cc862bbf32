# SPDX-License-Identifier: Apache-2.0
"""The embedded store: RocksDB for heads, rows and tails; files for tiles."""
