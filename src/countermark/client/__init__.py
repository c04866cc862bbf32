# SPDX-License-Identifier: Apache-2.0
"""Signing and verifying for users; knows servers only by their wire formats."""
