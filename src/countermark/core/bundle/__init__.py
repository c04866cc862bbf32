# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundles, trusted roots and signing configs."""
