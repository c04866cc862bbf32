# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents are valid, and say exactly which methods which paths have."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from starlette.routing import Match, Route
from starlette.types import Message

from countermark.app.data_dir import DataDir
from countermark.app.init import Passphrases, initialise
from countermark.app.keyring import KeyRing
from countermark.app.worker_wiring import wire
from countermark.core.errors import CountermarkError, Unavailable
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.httpkit import health, metrics
from countermark.httpkit.application import Application
from countermark.httpkit.problems import STATUS
from countermark.rpc.message import R, Request
from tests.support.openapi import DOCUMENTS, METHODS, Operation, documents, operations

_OTHER_METHODS = ("PUT", "PATCH", "DELETE", "TRACE")
_NOBODY = re.compile(r'"message":"(path .* was not found|Not Found)"')
_DOCUMENTS = documents()
_OPERATIONS = list(operations())


def _name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


class _Away:
    """The place of a keeper that is not there."""

    async def call(self, request: Request[R]) -> R:
        raise Unavailable("the keeper is away")


class Served:
    """Every route of an instance whose keeper is away: any answer but a refusal is service."""

    def __init__(self, folder: Path) -> None:
        data_dir = DataDir.at(folder / "data")
        config = initialise(
            data_dir, "http://localhost:7446", SystemClock(), SystemEntropy(), Passphrases()
        ).config
        ring = KeyRing.load(data_dir, config)
        keys = {log.name: ring.signer(log.name).public_key for log in config.logs}

        async def ask() -> None:
            return None

        self.routes = [
            *health.routes(ask),
            *metrics.routes(bytes),
            *wire(
                data_dir,
                config,
                _Away(),
                keys,
                (),
                SystemClock(),
                development=True,
                refused=lambda _: None,
            ),
        ]
        self.application = Application(self.routes)

    def refuses(self, method: str, path: str) -> bool:
        """Whether that path does not exist, or has no such method."""
        status, body = asyncio.run(self._ask(method, path))
        if status == 404:
            return bool(_NOBODY.search(body))
        return status == 405 or (status == 501 and "Method Not Allowed" in body)

    async def _ask(self, method: str, path: str) -> tuple[int, str]:
        said: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            said.append(message)

        scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
        scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}
        scope |= {"headers": [(b"host", b"localhost:7446")], "client": ("127.0.0.1", 50_000)}
        await self.application(scope, receive, send)
        return said[0]["status"], b"".join(part.get("body", b"") for part in said[1:]).decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("served"))


def _example(operation: Operation) -> str:
    """The path with examples for its parameters."""
    path = operation.path
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            example = parameter.get("example", parameter["schema"].get("example"))
            path = path.replace(f"{{{parameter['name']}}}", str(example))
    assert "{" not in path, "a parameter has no example"
    return path


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_documents_are_valid(name: str) -> None:
    document = schemathesis.openapi.from_path(str(DOCUMENTS / f"{name}.json"))
    document.validate()
    assert list(document.get_all_operations())


@pytest.mark.parametrize("operation", _OPERATIONS, ids=_name)
def test_what_is_documented_is_served(operation: Operation, served: Served) -> None:
    assert not served.refuses(operation.method, _example(operation))


def test_what_is_served_is_documented(served: Served) -> None:
    """Each route, by the examples of the documented paths that it matches."""
    by_path: dict[str, set[str]] = {}
    for operation in _OPERATIONS:
        by_path.setdefault(_example(operation), set()).add(operation.method)
    undocumented = []
    for route in served.routes:
        assert isinstance(route, Route)
        matching = [path for path in by_path if _matches(route, path)]
        if not matching:
            undocumented.append(route.path)
        for path in matching:
            methods = {each for each in _methods() if not served.refuses(each, path)}
            undocumented += [f"{each} {path}" for each in methods - by_path[path]]
    assert not undocumented


def _methods() -> tuple[str, ...]:
    return (*(method.upper() for method in METHODS), *_OTHER_METHODS)


def _matches(route: Route, path: str) -> bool:
    scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
    return route.matches(scope)[0] is not Match.NONE


@pytest.mark.parametrize("operation", _OPERATIONS, ids=_name)
def test_operations_say_what_they_are_for(operation: Operation) -> None:
    assert operation.spec["summary"]
    assert operation.method == "OPTIONS" or operation.spec["description"]
    for status, response in operation.spec["responses"].items():
        resolved = _resolve(operation.document, response)
        assert resolved["description"], status


def _resolve(document: str, response: dict[str, Any]) -> dict[str, Any]:
    named = str(response.get("$ref", "")).rpartition("/")[2]
    resolved: dict[str, Any] = _DOCUMENTS[document]["components"]["responses"].get(named, response)
    return resolved


def test_names_of_operations_are_unique() -> None:
    names = [operation.spec["operationId"] for operation in _OPERATIONS]
    assert len(set(names)) == len(names)


def test_documents_have_no_names_that_nothing_uses() -> None:
    unused = []
    for name, document in _DOCUMENTS.items():
        text = json.dumps(document)
        for kind, named in document["components"].items():
            if kind != "securitySchemes":
                unused += [
                    f"{name}: {kind}/{own}"
                    for own in named
                    if f'"#/components/{kind}/{own}"' not in text
                ]
    assert not unused


def test_every_status_of_the_one_table_is_in_a_document() -> None:
    """But 401, 403 and 422 of errors whose service answers in its own words."""
    told = {int(status) for operation in _OPERATIONS for status in operation.spec["responses"]}
    assert {STATUS[kind] for kind in STATUS if issubclass(kind, CountermarkError)} <= told
