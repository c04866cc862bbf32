# SPDX-License-Identifier: Apache-2.0
"""The pure core: formats, proofs and verification. No I/O, no clock, no randomness."""
