# SPDX-License-Identifier: Apache-2.0
"""The verification procedure and its evidence."""
