# SPDX-License-Identifier: Apache-2.0
"""HTTP plumbing that every service shares."""
