# SPDX-License-Identifier: Apache-2.0
"""The transparency log (Rekor v1)."""
