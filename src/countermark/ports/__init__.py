# SPDX-License-Identifier: Apache-2.0
"""Contracts between services and drivers."""
