# SPDX-License-Identifier: Apache-2.0
"""The timestamp authority (RFC 3161)."""
