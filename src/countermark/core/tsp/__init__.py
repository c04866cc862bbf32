# SPDX-License-Identifier: Apache-2.0
"""RFC 3161 timestamps."""
