# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of every parser of foreign bytes: ``make fuzz``, ``fuzz/README.md``."""
