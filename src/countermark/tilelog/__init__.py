# SPDX-License-Identifier: Apache-2.0
"""The log engine: rounds of leaves into tiles under a signed head."""
