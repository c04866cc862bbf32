# SPDX-License-Identifier: Apache-2.0
"""Rekor entries: what a log holds about a signature.

`hashedrekord` and `dsse_entry` write canonical bodies, `set_payload` what a SET signs and `shard`
names entries; all four are lean, because verification uses them. `proposal` reads what clients
submit, with `verifiers` for their keys and certificates; `kinds` is the table of entry types.
"""
