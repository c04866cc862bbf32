# SPDX-License-Identifier: Apache-2.0
"""Where private keys live."""
