# SPDX-License-Identifier: Apache-2.0
"""Seeds of what signing reads; see `fuzz.seeds`."""

import hashlib
from datetime import UTC, datetime

from countermark.client.spool import Waiting, serialize
from countermark.core.wire.device import DeviceStarted
from tests.support.forge import Forge

Seeds = dict[str, bytes]


def make(forge: Forge) -> dict[str, Seeds]:
    """By target, by file name."""
    return {
        "checksums": _checksums(),
        "predicate": _predicate(),
        "spooled": _spooled(forge),
        "device": _device(),
    }


def _checksums() -> Seeds:
    digits = "0a" * 32
    return {
        "gnu": f"# all\n{digits}  app.tar.gz\n{digits} *sub/doc\n\\{digits}  a\\nb\n".encode(),
        "bsd": f"SHA256 (a (1)) = {digits}\nSHA512 (a) = {digits * 2}\r\n".encode(),
    }


def _predicate() -> Seeds:
    return {"bom.json": b'{"bomFormat": "CycloneDX", "version": 1.0, "x": ["\\u00e9", null]}\n'}


def _spooled(forge: Forge) -> Seeds:
    bundle = forge.bundle()._replace(tlog_entries=())
    waiting = Waiting(
        number=hashlib.sha256(bundle.signature).hexdigest()[:32],
        file="app.tar.gz",
        target="/release/app.tar.gz.sigstore.json",
        overwrite=False,
        since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        instance_name="https://sigstore.example.org",
        trust_config={"mediaType": "x"},
        bundle=bundle,
        public_key_pem="",
    )
    return {"keyless.json": serialize(waiting)}


def _device() -> Seeds:
    started = DeviceStarted(
        device_code="d" * 43,
        user_code="BCDF-GHJK",
        verification_uri="https://login.example.org/device",
        expires_in=600,
    )
    return {"started.json": started.serialize(), "typed": b" bcdf ghjk\n"}
