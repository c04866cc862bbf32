# SPDX-License-Identifier: Apache-2.0
"""The distrust list: keys, identities, log entries and packages that turned out bad."""
