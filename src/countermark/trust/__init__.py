# SPDX-License-Identifier: Apache-2.0
"""The trust root: trusted_root.json, signing configs and the TUF repository of them."""
