# SPDX-License-Identifier: Apache-2.0
"""Targets by family. Each module has a `TARGETS`."""
