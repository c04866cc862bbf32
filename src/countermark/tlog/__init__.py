# SPDX-License-Identifier: Apache-2.0
"""The transparency log of signatures, as Rekor v1 has it.

`api` and `endpoint` the worker's half: HTTP, parsing, verification; `messages` what it asks of
the keeper; `keeper` the other half; `personality` what a shard signs and how that is audited;
`genesis` the first entries of a shard. Formats are in `core.rekor` and `core.wire.rekor_v1`.
"""
