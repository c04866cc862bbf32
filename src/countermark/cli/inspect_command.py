# SPDX-License-Identifier: Apache-2.0
"""`countermark inspect`: show what bundles hold, without judging any of it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from countermark.cli.arguments import parse_arguments, printable
from countermark.cli.exits import OK, exit_code
from countermark.cli.output import Output
from countermark.client.signatures import read_signatures
from countermark.core.bundle.bundle import Bundle, TransparencyLogEntry
from countermark.core.crypto.certificate import Certificate
from countermark.core.encoding import to_base64, to_rfc3339
from countermark.core.errors import CountermarkError, FormatError, RequestRejected
from countermark.core.intoto.envelope import Envelope
from countermark.core.intoto.statement import parse_statement
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import SignedNote
from countermark.core.tsp.response import parse_response
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity

T = TypeVar("T")
HELP = """\
Usage: countermark inspect [--json] BUNDLE…

  Show what bundles hold: certificate, log entries, timestamps, what was signed; one after the
  other if a file has several (JSON Lines), and cosign's first format too. Nothing is checked, so
  nothing shown is proven; `countermark verify` does that.

  Example: countermark inspect app.txt.sigstore.json
"""


def run(argv: Sequence[str]) -> int:
    """Run the command with its arguments; returns the exit code."""
    output = Output(as_json="--json" in argv)
    try:
        arguments = parse_arguments(argv, options=(), flags=("json", "help"))
        if arguments.flag("help"):
            print(HELP, end="")
            return OK
        if not arguments.operands:
            raise RequestRejected("there is nothing to inspect: name at least one BUNDLE")
    except CountermarkError as error:
        return output.fail(error)
    shown: list[dict[str, Any]] = []
    for path in arguments.operands:
        try:
            trees = [{"file": path, **tree} for tree in _trees(path)]
        except CountermarkError as error:
            return output.fail(error, partial={"bundles": shown})
        except OSError as error:
            refused = RequestRejected(f"{path} cannot be read: {error.strerror}")
            output.fail(refused, partial={"bundles": shown})
            return exit_code(refused)
        shown += trees
        for tree in trees:
            for line in _lines(tree, 0):
                output.line(line)
    output.result({"bundles": shown})
    return OK


def _trees(path: str) -> list[dict[str, Any]]:
    """What each signature in a file holds; of several, which one it is."""
    found = read_signatures(path)
    if len(found) == 1 and isinstance(found[0], FormatError):
        raise found[0]
    trees: list[dict[str, Any]] = []
    for number, bundle in enumerate(found, 1):
        tree: dict[str, Any] = {"signature": number} if len(found) > 1 else {}
        if isinstance(bundle, FormatError):
            trees.append({**tree, "unreadable": str(bundle)})
        else:
            trees.append({**tree, **describe_bundle(bundle)})
    return trees


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """A bundle as a tree of plain values; parts that cannot be read say why."""
    tree: dict[str, Any] = {"bundleVersion": bundle.version}
    if bundle.public_key_hint is not None:
        tree["publicKeyHint"] = bundle.public_key_hint
    else:
        tree["certificates"] = [_tolerant(_certificate, data) for data in bundle.certificates]
    tree["signed"] = _tolerant(_content, bundle)
    tree["timestamps"] = [_tolerant(_timestamp, data) for data in bundle.timestamps]
    tree["logEntries"] = [_tolerant(_entry, entry) for entry in bundle.tlog_entries]
    return tree


def _tolerant(describe: Callable[[T], dict[str, Any]], part: T) -> dict[str, Any]:
    try:
        return describe(part)
    except CountermarkError as error:
        return {"unreadable": str(error)}


def _certificate(data: bytes) -> dict[str, Any]:
    certificate = Certificate.parse(data)
    tree: dict[str, Any] = {"serial": f"{certificate.serial:x}"}
    if certificate.subject_alternative_names():
        signer = SignerIdentity.from_certificate(certificate)
        tree |= {"identity": signer.name, "issuer": signer.issuer}
        tree |= {EXTENSION_NAMES[number]: text for number, text in signer.extensions}
    return tree | {
        "notBefore": to_rfc3339(certificate.not_before),
        "notAfter": to_rfc3339(certificate.not_after),
        "key": certificate.public_key.details,
        "keyId": certificate.public_key.key_id.hex(),
    }


def _content(bundle: Bundle) -> dict[str, Any]:
    content = bundle.content
    if not isinstance(content, Envelope):
        tree = {"kind": "message", "signature": to_base64(content.signature)}
        if content.digest:
            tree[content.hash_algorithm or "digest"] = content.digest.hex()
        return tree
    tree = {"kind": "envelope", "payloadType": content.payload_type}
    tree["signature"] = to_base64(content.signatures[0].sig)
    statement = parse_statement(content.payload)
    return tree | {
        "predicateType": statement.predicate_type,
        "subjects": [
            {"name": subject.name}
            | {algorithm: digest.hex() for algorithm, digest in subject.digests.items()}
            for subject in statement.subjects
        ],
    }


def _timestamp(data: bytes) -> dict[str, Any]:
    info = parse_response(data).info
    return {
        "time": to_rfc3339(info.time),
        "over": f"{info.hash_name}:{info.digest.hex()}",
        "policy": info.policy,
        "serial": f"{info.serial:x}",
    }


def _entry(entry: TransparencyLogEntry) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "logId": entry.log_id.hex(),
        "logIndex": entry.log_index,
        "kind": f"{entry.kind} {entry.version}",
        "promise": bool(entry.inclusion_promise),
    }
    if 0 < entry.integrated_time < 2**36:
        tree["integratedTime"] = to_rfc3339(datetime.fromtimestamp(entry.integrated_time, UTC))
    proof = entry.inclusion_proof
    if proof is not None:
        tree |= {"leafIndex": proof.log_index, "treeSize": proof.tree_size}
        if proof.checkpoint:
            note = SignedNote.parse(proof.checkpoint.encode("utf-8"))
            tree["origin"] = Checkpoint.parse(note.text).origin
            tree["signedBy"] = [signature.name for signature in note.signatures]
    return tree


def _lines(value: object, depth: int, label: str = "") -> list[str]:
    indent, label = "  " * depth, printable(label)
    if isinstance(value, dict):
        lines = [f"{indent}{label}:"] if label else []
        for key, item in value.items():
            lines += _lines(item, depth + bool(label), key)
        return lines
    if isinstance(value, list):
        lines = []
        for number, item in enumerate(value, 1):
            lines += _lines(item, depth, f"{label} {number}" if label else str(number))
        return lines
    return [f"{indent}{label}: {printable(str(value))}"]
