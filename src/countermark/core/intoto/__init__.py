# SPDX-License-Identifier: Apache-2.0
"""DSSE envelopes and in-toto statements."""
