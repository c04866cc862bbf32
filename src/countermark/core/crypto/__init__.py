# SPDX-License-Identifier: Apache-2.0
"""DER, public keys and certificates."""
