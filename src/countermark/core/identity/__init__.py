# SPDX-License-Identifier: Apache-2.0
"""Identity tokens, and how their claims become a certificate."""
