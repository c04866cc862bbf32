# SPDX-License-Identifier: Apache-2.0
"""Long-lived keys to sign and verify with: files, PKCS#11 tokens and key services.

`reference.open_key` finds the module for a reference; each makes a `key.SigningKey`.
"""
