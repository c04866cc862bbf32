# SPDX-License-Identifier: Apache-2.0
"""The timestamp authority (RFC 3161, as Sigstore's timestamp-authority v2 serves it).

`api` HTTP in the workers; `messages` what they ask the keeper; `keeper` key, clock and serial
numbers. What requests and tokens look like is in `core.tsp`.
"""
