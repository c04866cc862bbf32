# SPDX-License-Identifier: Apache-2.0
"""The `countermark` command."""
