# SPDX-License-Identifier: Apache-2.0
"""The same verifying loop in sigstore-python, sigstore-js and here, each in its own process.

Every process reads a line of JSON, does one round over all its bundles and answers with the CPU
and wall seconds it took, so that rounds of several programs can take turns.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools"))
PYTHON = TOOLS / "sigstore-python/bin"
JS = TOOLS / "sigstore-js/node_modules"

_HEAD = """
import json, sys, time
from pathlib import Path
setup = json.loads(sys.stdin.readline())
work = [(Path(f).read_bytes(), Path(f + ".sigstore.json").read_bytes(), who)
        for f, who in setup["files"]]
"""
_LOOP = """
for line in sys.stdin:
    cpu, wall = time.process_time(), time.perf_counter()
    one_round()
    used = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps(used), flush=True)
"""
_OURS = (
    _HEAD
    + """
from countermark import Identity, Item, TrustedRoot, Verifier
verifier = Verifier(TrustedRoot.parse(Path(setup["root"]).read_bytes()))
items = [Item(a, b, Identity(who, setup["issuer"])) for a, b, who in work]
def one_round():
    for item in items:
        verifier.verify(item.source, item.bundle, item.policy)
"""
    + _LOOP
)
_SIGSTORE_PYTHON = (
    _HEAD
    + """
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
verifier = Verifier(trusted_root=TrustedRoot.from_file(setup["root"]))
items = [(a, b, policy.Identity(identity=who, issuer=setup["issuer"])) for a, b, who in work]
def one_round():
    for artifact, bundle, identity in items:
        verifier.verify_artifact(artifact, Bundle.from_json(bundle), identity)
"""
    + _LOOP
)
_SIGSTORE_JS = """
const fs = require('node:fs');
const { createRequire } = require('node:module');
const theirs = createRequire(require.resolve('sigstore'));
const { TrustedRoot } = theirs('@sigstore/protobuf-specs');
const { bundleFromJSON } = theirs('@sigstore/bundle');
const { toSignedEntity, toTrustMaterial, Verifier } = theirs('@sigstore/verify');
let verifier, items, issuer;
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const setup = JSON.parse(line);
  if (setup.files) {
    issuer = setup.issuer;
    const root = TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(setup.root, 'utf8')));
    verifier = new Verifier(toTrustMaterial(root));
    items = setup.files.map(([f, who]) => [
      fs.readFileSync(f), fs.readFileSync(f + '.sigstore.json', 'utf8'),
      '^' + who.replaceAll('.', '\\\\.') + '$']);
    return;
  }
  const cpu = process.cpuUsage(), wall = process.hrtime.bigint();
  for (const [artifact, bundle, who] of items) {
    const entity = toSignedEntity(bundleFromJSON(JSON.parse(bundle)), artifact);
    verifier.verify(entity, { subjectAlternativeName: who, extensions: { issuer } });
  }
  const used = process.cpuUsage(cpu);
  console.log(JSON.stringify([(used.user + used.system) / 1e6,
    Number(process.hrtime.bigint() - wall) / 1e9]));
});
"""


class Work(NamedTuple):
    """What a loop verifies.

    Attributes:
        root: a trusted root's file.
        issuer: of every signer's identity.
        files: artifacts whose bundles lie beside them, each with its signer's name.
    """

    root: Path
    issuer: str
    files: tuple[tuple[Path, str], ...]


class Loop:
    """One program's loop, warm after its first round."""

    def __init__(self, name: str, command: Sequence[str], work: Work, **environment: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        self._count = len(work.files)
        files = [[str(file), who] for file, who in work.files]
        self._say({"root": str(work.root), "issuer": work.issuer, "files": files})

    def __enter__(self) -> Self:
        self.round()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def round(self) -> float:
        """CPU seconds of one bundle, in one more round over all of them."""
        self._say({})
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended instead of verifying")
        cpu: float = json.loads(line)[0]
        return cpu / self._count

    def _say(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


def ours(work: Work) -> Loop:
    """Ours."""
    return Loop("countermark", [sys.executable, "-c", _OURS], work)


def sigstore_python(work: Work) -> Loop:
    """sigstore-python's."""
    return Loop("sigstore-python", [str(PYTHON / "python"), "-c", _SIGSTORE_PYTHON], work)


def sigstore_js(work: Work) -> Loop | None:
    """sigstore-js's, None if it is not installed."""
    node = JS / ".bin/node"
    if not node.exists():
        return None
    return Loop("sigstore-js", [str(node), "-e", _SIGSTORE_JS], work, NODE_PATH=str(JS))
