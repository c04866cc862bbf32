# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents, and schemathesis with all of them against a running instance."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.instance import Instance

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "docs/reference/openapi"
METHODS = ("get", "head", "post", "options")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
_CONFIG = ROOT / "tests/support/schemathesis.toml"
_COMPONENTS = '"#/components/'


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path of a document.

    Attributes:
        document: the file's name without its end.
        path: as the document has it, with parameters in braces.
        method: in upper case.
        spec: what the document says of it.
        parameters: of the operation and its path, references resolved.
    """

    document: str
    path: str
    method: str
    spec: dict[str, Any]
    parameters: tuple[dict[str, Any], ...]


def documents() -> dict[str, dict[str, Any]]:
    """Every document, by its file's name without its end."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DOCUMENTS.glob("*.json"))}


def operations() -> Iterator[Operation]:
    """Every operation of every document."""
    for name, document in documents().items():
        known = document["components"].get("parameters", {})
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item:
                    named = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                    resolved = [known.get(_reference(each), each) for each in named]
                    yield Operation(name, path, method.upper(), item[method], tuple(resolved))


def merged() -> dict[str, Any]:
    """All documents as one: a start of schemathesis takes longer than an attack on one service.

    Components get their document's name before their own, so that equal names do not meet.
    """
    whole: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "Countermark", "version": "1"}}
    whole |= {"paths": {}, "components": {}}
    for name, document in documents().items():
        text = json.dumps({key: document[key] for key in ("paths", "components")})
        for kind in document["components"]:
            if kind != "securitySchemes":
                target = f"{_COMPONENTS}{kind}/"
                text = text.replace(target, f"{target}{name}-")
            whole["components"].setdefault(kind, {})
        renamed = json.loads(text)
        whole["paths"] |= renamed["paths"]
        for kind, named in renamed["components"].items():
            prefix = "" if kind == "securitySchemes" else f"{name}-"
            whole["components"][kind] |= {f"{prefix}{own}": each for own, each in named.items()}
    return whole


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack found.

    Attributes:
        cases: how many requests were made up and judged.
        failures: what is wrong, as schemathesis prints it; empty if nothing is.
        accepted: how often an operation (``POST /api/v1/log/entries``) said yes.
        seconds: how long it took.
    """

    cases: int
    failures: str
    accepted: dict[str, int]
    seconds: float


def attack(
    instance: Instance, folder: Path, *, seed: int, examples: int, phases: tuple[str, ...] = PHASES
) -> Outcome:
    """Send `examples` generated requests per operation, and those of the other phases."""
    document, report = folder / "openapi.json", folder / "report.json"
    document.write_text(json.dumps(merged()))
    secret = instance.data_dir.path / "local-secret"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG), "run"),
            *(str(document), "--url", instance.url, "--seed", str(seed)),
            *("--max-examples", str(examples), "--phases", ",".join(phases)),
            *("--warnings", "off", "--report-json-path", str(report)),
        ],
        env={
            **os.environ,
            "COUNTERMARK_FUZZ_URL": instance.url,
            "COUNTERMARK_FUZZ_SECRET": str(secret),
            "COUNTERMARK_FUZZ_LOCAL_SECRET": secret.read_text().strip(),
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        },
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if not report.exists():
        raise AssertionError(f"schemathesis did not run:\n{done.stdout}{done.stderr}")
    said = json.loads(report.read_text())
    accepted = {
        operation: sum(counts["accepted"] for counts in by_phase.values())
        for operation, by_phase in said["valid_rates"].items()
    }
    wrong = done.returncode != 0 or said["failures"] or said["errors"] or not said["complete"]
    return Outcome(
        said["test_cases"]["generated"],
        f"{done.stdout}{done.stderr}" if wrong else "",
        accepted,
        said["running_time"],
    )


def _reference(parameter: dict[str, Any]) -> str:
    return str(parameter.get("$ref", "")).rpartition("/")[2]
