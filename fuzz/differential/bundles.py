# SPDX-License-Identifier: Apache-2.0
"""Real bundles to start from, and changes to them: fields, spellings, bytes, lines, swaps.

The same random generator makes the same changes.
"""

import copy
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import countermark
from fuzz.context import CORPUS, seeds
from fuzz.mutate import mutate
from fuzz.targets.documents import ARTIFACT

_BEACON = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/"
    "workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
_GITHUB = "https://token.actions.githubusercontent.com"
_FORGED = ("me@example.org", "https://accounts.example.org")
_MAX_BYTES = 64 * 1024
# Fields that are base64 of bytes, and what is in them.
_BINARY = (
    "rawBytes", "signedTimestamp", "keyId", "signedEntryTimestamp", "rootHash", "canonicalizedBody",
    "digest", "signature", "payload", "sig",
)  # fmt: skip
_PARTIES = ("tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities")
_LONG_AGO = {"start": "2019-01-01T00:00:00Z", "end": "2020-01-01T00:00:00Z"}
Tree = dict[str, Any]


class Base(NamedTuple):
    """A bundle that verifies, or one that must not.

    Attributes:
        name: where it is from.
        data: its JSON.
        artifact: what was signed.
        san, issuer: who signed it.
        root: path of the trusted root.
        key: PEM of the managed key that signed it, or empty.
    """

    name: str
    data: bytes
    artifact: bytes
    san: str
    issuer: str
    root: str
    key: str = ""


class Mutant(NamedTuple):
    """A changed bundle: from which base, by which kind of change."""

    base: Base
    change: str
    data: bytes
    artifact: bytes


def bases(vectors: Path | None) -> list[Base]:
    """Bundles of the corpus, and the published ones if they are at hand."""
    root = str(CORPUS / "trusted-root" / "forged.json")
    found = [
        Base(f"corpus/{name}", seeds("bundle")[name], ARTIFACT, *_FORGED, root)
        for name in ("v1.json", "v2.json", "dsse.json", "intoto.json", "only-time.json")
    ]
    if vectors is not None:
        found += published(vectors / "bundle-verify")
    return found


def published(folder: Path) -> list[Base]:
    """The cases of the conformance suite, failing ones included."""
    shipped = Path(countermark.__file__).parent / "trust_data/public_good_trusted_root.json"
    found = []
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        artifact = case / "artifact" if (case / "artifact").exists() else folder / "a.txt"
        root, key = case / "trusted_root.json", case / "key.pub"
        found.append(
            Base(
                case.name,
                (case / "bundle.sigstore.json").read_bytes(),
                artifact.read_bytes(),
                _text(case / "identity", _BEACON),
                _text(case / "issuer", _GITHUB),
                str(root if root.exists() else shipped),
                key.read_text() if key.exists() else "",
            )
        )
    return found


def ended(found: Sequence[Base], folder: Path) -> list[Base]:
    """Good bundles under roots that believed their logs or authorities only before they were made.

    The roots are written to `folder`.
    """
    made: list[Base] = []
    for base in found:
        for kind in _PARTIES if not base.name.endswith("_fail") else ():
            tree = json.loads(Path(base.root).read_text())
            for party in tree.get(kind, ()):
                party.get("publicKey", party)["validFor"] = _LONG_AGO
            root = folder / f"{len(made)}.json"
            root.write_text(json.dumps(tree))
            made.append(base._replace(name=f"{base.name}-{kind}-ended_fail", root=str(root)))
    return made


def _text(path: Path, default: str) -> str:
    return path.read_text().strip() if path.exists() else default


def mutants(found: Sequence[Base], random: Random, count: int) -> Iterator[Mutant]:
    """First every base as it is, then `count` changed ones."""
    for base in found:
        yield Mutant(base, "none", base.data, base.artifact)
    good = [base for base in found if not base.name.endswith("_fail")]
    for _ in range(count):
        base = random.choice(good)
        change = random.choice(_CHANGES)
        made = change(base, random, good)
        if made is not None:
            yield Mutant(base, change.__name__.lstrip("_"), made[:_MAX_BYTES], base.artifact)
    for base in good:
        yield Mutant(base, "artifact", base.data, base.artifact + b"\n")


# --- where things are ---------------------------------------------------------------------------


def _places(tree: Any, depth: int = 12) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    keys: list[Any] = list(tree) if isinstance(tree, dict) else []
    if isinstance(tree, list):
        keys = list(range(len(tree)))
    found = [(tree, key) for key in keys]
    for key in keys if depth else ():
        found += _places(tree[key], depth - 1)
    return found


def _named(tree: Any, *names: str) -> list[tuple[Any, str]]:
    return [(parent, key) for parent, key in _places(tree) if key in names]


def _dump(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _decoded(value: object) -> bytes | None:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        return None


# --- changes: each gives the bundle's new bytes, or None if it does not apply ---------------------


def _anything(base: Base, random: Random, _: Sequence[Base]) -> bytes | None:
    return mutate(base.data, random, _MAX_BYTES)


def _spelling(base: Base, random: Random, _: Sequence[Base]) -> bytes | None:
    """What proto3 JSON lets some readers take, and others not."""
    tree = json.loads(base.data)
    for _again in range(random.choice((1, 1, 2))):
        random.choice(_SPELLINGS)(tree, random)
    text = _dump(tree)
    return random.choice((text, text, text, json.dumps(tree, indent=1).encode(), b" " + text))


def _number(tree: Tree, random: Random) -> None:
    parent, key = random.choice(_named(tree, "logIndex", "treeSize", "integratedTime"))
    if str(parent[key]).isdecimal():
        parent[key] = int(parent[key])


def _snake(tree: Tree, random: Random) -> None:
    parent, key = random.choice([place for place in _places(tree) if isinstance(place[1], str)])
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    parent[snake] = parent.pop(key)


def _url_safe(tree: Tree, random: Random) -> None:
    parent, key = random.choice(_named(tree, *_BINARY))
    if isinstance(parent[key], str):
        parent[key] = parent[key].translate(str.maketrans("+/", "-_"))


def _unpadded(tree: Tree, random: Random) -> None:
    parent, key = random.choice(_named(tree, *_BINARY))
    if isinstance(parent[key], str):
        parent[key] = parent[key].rstrip("=")


def _lines(tree: Tree, random: Random) -> None:
    parent, key = random.choice(_named(tree, *_BINARY))
    if isinstance(parent[key], str):
        at = random.randrange(len(parent[key]) + 1)
        parent[key] = parent[key][:at] + random.choice("\n \r=") + parent[key][at:]


def _unknown(tree: Tree, random: Random) -> None:
    parents = [tree, *(parent[key] for parent, key in _places(tree))]
    parent = random.choice([item for item in parents if isinstance(item, dict)])
    parent["unknownField"] = random.choice((None, 1, "x", {}, []))


def _nothing(tree: Tree, random: Random) -> None:
    parents = [tree, *(parent[key] for parent, key in _places(tree))]
    parent = random.choice([item for item in parents if isinstance(item, dict)])
    names = (
        "messageSignature", "dsseEnvelope", "publicKey", "certificate", "inclusionPromise",
        "timestampVerificationData", "x509CertificateChain", "keyid", "checkpoint",
    )  # fmt: skip
    parent.setdefault(random.choice(names), random.choice((None, None, {}, "", [])))


def _enum(tree: Tree, random: Random) -> None:
    for parent, key in _named(tree, "algorithm"):
        parent[key] = random.choice((1, 2, "1", "sha256", "SHA2_512", "SHA2_384", 0, 99))


_SPELLINGS: tuple[Callable[[Tree, Random], None], ...] = (
    _number, _snake, _url_safe, _unpadded, _lines, _unknown, _nothing, _enum,
)  # fmt: skip


def _field(base: Base, random: Random, others: Sequence[Base]) -> bytes | None:
    """One field gone, doubled, or with the value of another place or another bundle."""
    tree = json.loads(base.data)
    parent, key = random.choice(_places(tree))
    kind = random.randrange(5)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent[key], list):
        parent[key] = parent[key] * 2
    elif kind == 2 and isinstance(parent[key], str) and parent[key].isdecimal():
        parent[key] = str(int(parent[key]) + random.choice((-1, 1, 2, 1000, 2**32, 2**63)))
    else:
        source = tree if kind == 3 else json.loads(random.choice(others).data)
        same = [place for place in _places(source) if place[1] == key]
        if not same:
            return None
        other, name = random.choice(same)
        parent[key] = copy.deepcopy(other[name])
    return _dump(tree)


def _swap(base: Base, random: Random, others: Sequence[Base]) -> bytes | None:
    """A whole part of another bundle in the place of this one's."""
    tree, other = json.loads(base.data), json.loads(random.choice(others).data)
    part = random.choice(
        ("messageSignature", "dsseEnvelope", "verificationMaterial", "mediaType", "certificate",
         "tlogEntries", "timestampVerificationData", "inclusionProof", "inclusionPromise",
         "canonicalizedBody", "checkpoint", "logId", "kindVersion", "x509CertificateChain")
    )  # fmt: skip
    here, there = _named(tree, part), _named(other, part)
    if not there:
        return None
    if here:
        parent, key = here[0]
        parent[key] = there[0][0][part]
    elif part in ("messageSignature", "dsseEnvelope"):
        tree[part] = other[part]
    else:
        tree["verificationMaterial"][part] = there[0][0][part]
    return _dump(tree)


def _bytes(base: Base, random: Random, _: Sequence[Base]) -> bytes | None:
    """One binary field with one byte changed, or changed as DER."""
    tree = json.loads(base.data)
    places: list[tuple[Any, Any]] = list(_named(tree, *_BINARY))
    for proof, name in _named(tree, "hashes"):
        places += [(proof[name], at) for at in range(len(proof[name]))]
    parent, key = random.choice(places)
    data = _decoded(parent[key])
    if not data:
        return None
    at = random.randrange(len(data))
    changed = random.choice(
        (
            lambda: data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :],
            lambda: data[:at],
            lambda: data + random.choice((b"\x00", b"\n", b"\x05\x00")),
            lambda: mutate(data, random, _MAX_BYTES),
        )
    )()
    parent[key] = b64encode(changed).decode("ascii")
    return _dump(tree)


def _checkpoint(base: Base, random: Random, _: Sequence[Base]) -> bytes | None:
    """The note of a checkpoint, line by line."""
    tree = json.loads(base.data)
    found = _named(tree, "envelope")
    if not found:
        return None
    parent, key = found[0]
    lines = parent[key].split("\n")
    at = random.randrange(len(lines))
    cosignature = b64encode(random.randbytes(76)).decode()
    junk = (
        "— somebody.example AAAAAAAA", f"— somebody.example {cosignature}",
        "x", "", "extension line", "Timestamp: 1", " ", "— ",
    )  # fmt: skip
    kind = random.randrange(6)
    if kind == 0:
        lines.insert(at, random.choice(junk))
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines.insert(at, random.choice(lines))
    elif kind == 3:
        parts = lines[at].split(" ")
        parts[-1 if len(parts) < 3 else 1] = random.choice(("other.example", "0", "007", "+1"))
        lines[at] = " ".join(parts)
    elif kind == 4:
        lines[at] += random.choice((" ", "\r", "\t", "=", "A"))
    else:
        signatures = [line for line in lines if line.startswith("— ")]
        lines = [line for line in lines if not line.startswith("— ")][:-1]
        random.shuffle(signatures)
        lines += [random.choice(junk[:2]), *signatures, ""]
    parent[key] = "\n".join(lines)
    return _dump(tree)


def _body(base: Base, random: Random, _: Sequence[Base]) -> bytes | None:
    """The log entry's body, which its signatures and proofs are over."""
    tree = json.loads(base.data)
    parent, key = _named(tree, "canonicalizedBody")[0]
    body = json.loads(b64decode(parent[key]))
    place, name = random.choice(_places(body))
    kind = random.randrange(4)
    if kind == 0:
        place[name] = random.choice((None, "", "0.0.1", "0.0.2", "hashedrekord", "sha512", {}, []))
    elif kind == 1:
        del place[name]
    elif isinstance(place, dict):
        place["x"] = "y"
    made = json.dumps(body, indent=1 if kind == 3 else None).encode()
    parent[key] = b64encode(made).decode("ascii")
    return _dump(tree)


_Change = Callable[[Base, Random, Sequence[Base]], bytes | None]
_CHANGES: tuple[_Change, ...] = (
    _anything, _spelling, _spelling, _spelling, _field, _field, _swap, _bytes, _bytes, _checkpoint,
    _body,
)  # fmt: skip
