# SPDX-License-Identifier: Apache-2.0
"""All targets by name."""

from fuzz.target import Target
from fuzz.targets import crypto, documents, git, identity, logs, processes, signing

TARGETS: dict[str, Target] = {
    target.name: target
    for family in (crypto, logs, documents, git, identity, processes, signing)
    for target in family.TARGETS
}
