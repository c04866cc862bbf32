# SPDX-License-Identifier: Apache-2.0
"""Policies over whole files of expectations, and over time: policy files, the same signer."""
