# SPDX-License-Identifier: Apache-2.0
"""Merkle trees, tiles, signed notes and checkpoints."""
