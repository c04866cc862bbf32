# SPDX-License-Identifier: Apache-2.0
"""Wiring: which driver serves which port, which service runs in which process."""
