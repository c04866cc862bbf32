# SPDX-License-Identifier: Apache-2.0
"""The log engine: rounds of leaves into tiles under a signed head.

`log` what services use; `personality` what a log tells the engine, and what audits it;
`pool` what waits; `sequencer` one round; `publisher` tiles and checkpoint behind the answers;
`reader` proofs and records; `recover` opening a log; `fsck` (with `audit`, `published`, `problems`)
checking one, `published_audit` while it runs; `limits` bounds and delays; `thread` where blocking
work happens.
"""
