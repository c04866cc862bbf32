# SPDX-License-Identifier: Apache-2.0
"""Seeds of the targets about Git; see `seeds`."""

import hashlib

from countermark.core.cms.entry import encode_entry
from countermark.core.cms.write import git_signature, signed_attributes
from countermark.core.crypto.keys import decode_pem
from fuzz.targets.git import PAYLOAD
from tests.support.forge import Forge
from tests.support.made_certificates import NOW


def signatures(forge: Forge) -> dict[str, bytes]:
    """Signatures that verify, in armour and without, with a timestamp and without."""
    attributes = signed_attributes(hashlib.sha256(PAYLOAD).digest(), NOW)
    made = forge.bundle(artifact=attributes)
    armoured = git_signature(attributes, made)
    return {
        "stamped.pem": armoured.encode(),
        "stamped": decode_pem(armoured, "signature")[1],
        "plain.pem": git_signature(attributes, made._replace(timestamps=())).encode(),
    }


def entries(forge: Forge) -> dict[str, bytes]:
    """Log entries in protobuf."""
    (entry,) = forge.bundle().tlog_entries
    bare = entry._replace(inclusion_proof=None, inclusion_promise=b"")
    return {"whole": encode_entry(entry), "bare": encode_entry(bare)}


def objects() -> dict[str, bytes]:
    """Commits and a tag that look signed, and what Git says of its configuration."""
    armour = "-----BEGIN SIGNED MESSAGE-----\nMIIF\n-----END SIGNED MESSAGE-----\n"
    folded = armour.rstrip().replace("\n", "\n ")
    head = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\n"
    tag = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\n"
    return {
        "commit": f"{head}gpgsig {folded}\n\nmessage\n".encode(),
        "sha256": f"{head}gpgsig-sha256 {folded}\n\nmessage\n".encode(),
        "tag": f"{tag}tagger A <a@b> 1 +0000\n\nrelease\n{armour}".encode(),
        "settings": b"countermark.identity\na@example.org\0countermark.cache\0",
    }
