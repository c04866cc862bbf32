# SPDX-License-Identifier: Apache-2.0
"""Countermark: a whole Sigstore in one program."""
