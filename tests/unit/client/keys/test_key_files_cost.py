# SPDX-License-Identifier: Apache-2.0
"""Key files at full cost: what we write opens in OpenSSL, what cosign may write opens here."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from nacl import bindings

from countermark.client.keys import cosign, files, pkcs8
from countermark.client.keys.key import P256
from countermark.client.keys.local import LocalKey
from countermark.core.crypto import der
from countermark.core.crypto.keys import decode_pem_blocks

PASSPHRASE = b"correct horse"
KEY = LocalKey.generate(P256)


def test_what_we_write_is_dear_and_opens_in_openssl(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    path = tmp_path / "some.key"
    path.write_bytes(files.encode_private_key(KEY, PASSPHRASE, as_cosign=False))
    command = ["openssl", "pkey", "-in", str(path), "-passin", "pass:correct horse", "-pubout"]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert shown == KEY.public_key.to_pem()
    data = decode_pem_blocks(path.read_text(), "key")[0][1]
    kdf = der.decode(data, "key").reader("key").sequence()
    kdf.oid()
    costs = kdf.sequence().sequence()
    costs.oid()
    numbers = costs.sequence()
    numbers.read(der.OCTET_STRING)
    assert [numbers.integer() for _ in range(4)] == [2**14, 8, 5, 32]


@pytest.mark.parametrize("cost", [2**15, 2**16, 2**17])
def test_every_cost_that_cosign_writes_is_read(cost: int) -> None:
    key = pkcs8.scrypt(PASSPHRASE, bytes(32), cost, 1)
    box = bindings.crypto_secretbox_easy(KEY.to_pkcs8(), bytes(24), key)
    zeros = base64.b64encode(bytes(32)).decode()
    body = {
        "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": zeros},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(box).decode(),
    }
    assert cosign.unseal(json.dumps(body).encode(), PASSPHRASE, "cosign.key") == KEY.to_pkcs8()
    if cost == 2**16:  # what we write, too
        assert f'"N":{cost}'.encode() in cosign.seal(b"", b"", salt=bytes(32), nonce=bytes(24))
