# SPDX-License-Identifier: Apache-2.0
"""HTTP APIs as bytes, both directions."""
