# SPDX-License-Identifier: Apache-2.0
"""What signing reads: checksum files, predicates, the spool's files, and codes that people type."""

from countermark.client import spool
from countermark.client.checksums import parse_checksums, path_of, serialize_checksums
from countermark.core.errors import FormatError, RequestRejected, SettingsError
from countermark.core.intoto.predicates import NamedDigests, make_statement
from countermark.core.intoto.statement import parse_statement
from countermark.core.wire.device import DeviceStarted, read_user_code
from fuzz.target import Refusals, Target

_SUBJECT = NamedDigests("a", {"sha256": "00" * 32})


def _checksums(data: bytes) -> bool:
    with Refusals(FormatError):
        entries = parse_checksums(data)
        for entry in entries:
            path = path_of(entry, "/folder/LIST")
            assert path.startswith("/folder/")
            assert "/../" not in f"{path}/"
        plain = [(entry.name, next(iter(entry.digests.values()))) for entry in entries]
        assert [entry.name for entry in parse_checksums(serialize_checksums(plain))] == [
            name for name, _ in plain
        ]
        return True
    return False


def _predicate(data: bytes) -> bool:
    with Refusals(FormatError, RequestRejected):
        statement = make_statement([_SUBJECT], "https://example.org/x", data)
        assert statement.endswith(b"}")
        assert parse_statement(statement).subjects[0].digests == {"sha256": bytes(32)}
        assert data.strip(b" \t\r\n") in statement
        return True
    return False


def _spooled(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError, RequestRejected, SettingsError):
        waiting = spool.parse(data)
        assert spool.parse(spool.serialize(waiting)) == waiting
        taken = True
        spool.prepared_of(waiting)
    return taken


def _device(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        DeviceStarted.parse(data)
        taken = True
    with Refusals(FormatError):
        code = read_user_code(data.decode("utf-8", "replace"))
        assert read_user_code(code.lower()) == code
        taken = True
    return taken


TARGETS = (
    Target("checksums", _checksums),
    Target("predicate", _predicate),
    Target("spooled", _spooled),
    Target("device", _device, 2048),
)
