# SPDX-License-Identifier: Apache-2.0
"""Key services on loopback that speak the vendors' protocols, with real keys and signatures.

One server answers as Vault's transit engine, AWS KMS, Google Cloud KMS and Azure Key Vault, and as
the token services of the last two. It can also fail and lie.
"""

import hashlib
import json
import re
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VAULT_TOKEN, GOOGLE_TOKEN, AZURE_TOKEN, AZURE_HEADER = "s.vault", "ya29.google", "azure", "header"
AWS_ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_HASHES: dict[str, SHA256 | SHA384 | SHA512] = {
    "sha256": SHA256(),
    "sha384": SHA384(),
    "sha512": SHA512(),
}
_CURVES = {
    "secp256r1": ("P-256", "256"),
    "secp384r1": ("P-384", "384"),
    "secp521r1": ("P-521", "512"),
}
_VAULT_TYPES = {"P-256": "ecdsa-p256", "P-384": "ecdsa-p384", "P-521": "ecdsa-p521"}


@lru_cache(maxsize=1)
def _client_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Refused(Exception):
    """A status and a body that say no."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Services:
    """What the server holds and how it behaves.

    Attributes:
        key: the one key that every name means.
        version: its version.
        lie: sign with another key than is shown.
        fail: answer everything with this status.
        hold_s: answer so late.
        odd: merged into every answer's top level, whatever it breaks.
        asked: method and path of every request.
        client_key: of the Google service account.
    """

    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    version: int = 3
    lie: bool = False
    fail: int = 0
    hold_s: float = 0
    odd: dict[str, Any] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    client_key: rsa.RSAPrivateKey = field(default_factory=_client_key)
    url: str = ""

    @property
    def pem(self) -> str:
        return self._public(Encoding.PEM).decode()

    @property
    def spki(self) -> bytes:
        return self._public(Encoding.DER)

    def _public(self, encoding: Encoding) -> bytes:
        public: bytes = self.key.public_key().public_bytes(
            encoding, PublicFormat.SubjectPublicKeyInfo
        )
        return public

    @property
    def curve(self) -> tuple[str, str]:
        return _CURVES[self.key.curve.name]

    def sign(self, data: bytes, hash_name: str | None) -> bytes:
        """Sign a digest, or a whole message with Ed25519."""
        key = self.key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return (ed25519.Ed25519PrivateKey.generate() if self.lie else key).sign(data)
        assert hash_name is not None
        assert len(data) == _HASHES[hash_name].digest_size
        prehashed = Prehashed(_HASHES[hash_name])
        if isinstance(key, rsa.RSAPrivateKey):
            signed = key.sign(data, padding.PKCS1v15(), prehashed)
            return signed[::-1] if self.lie else signed
        if self.lie:
            key = ec.generate_private_key(key.curve)
        signature: bytes = key.sign(data, ec.ECDSA(prehashed))
        return signature

    def bare(self, signature: bytes) -> bytes:
        """r and s of an ECDSA signature, as JOSE has them."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return signature
        size = (self.key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size) + s.to_bytes(size)

    def google_credentials(self) -> dict[str, str]:
        """What Google calls a service account's key file."""
        from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

        pem = self.client_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "signer@p.iam.example.org",
            "token_uri": f"{self.url}/google/token",
        }

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> dict[str, Any]:
        """Route a request to the service that it is for."""
        parts = urlsplit(path)
        if parts.path.startswith("/v1/transit/"):
            return self._vault(method, parts.path.removeprefix("/v1/transit/"), headers, body)
        if "x-amz-target" in headers:
            return self._aws(headers, json.loads(body))
        if parts.path.startswith("/google/token"):
            return self._google_token(parse_qs(body.decode()))
        if parts.path.startswith("/v1/projects/"):
            return self._google(parts.path, headers, body)
        if parts.path.startswith("/azure/token"):
            return self._azure_token(parse_qs(parts.query), headers)
        if parts.path.startswith("/keys/"):
            return self._azure(parts.path, headers, body)
        raise Refused(404, {"errors": []})

    def _vault(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> dict[str, Any]:
        if headers.get("x-vault-token") != VAULT_TOKEN:
            raise Refused(403, {"errors": ["permission denied"]})
        action, name, *rest = [part for part in path.split("/") if part]
        if name != "release":
            raise Refused(404, {"errors": []})
        if action == "keys":
            if isinstance(self.key, ed25519.Ed25519PrivateKey):
                kind, shown = (
                    "ed25519",
                    b64encode(self.key.public_key().public_bytes_raw()).decode(),
                )
            elif isinstance(self.key, rsa.RSAPrivateKey):
                kind, shown = f"rsa-{self.key.key_size}", self.pem
            else:
                kind, shown = _VAULT_TYPES[self.curve[0]], self.pem
            name = "ed25519" if kind == "ed25519" else kind
            versions = {str(self.version): {"name": name, "public_key": shown}}
            return {"data": {"type": kind, "latest_version": self.version, "keys": versions}}
        assert method in ("POST", "PUT")
        asked = json.loads(body)
        data = b64decode(asked["input"], validate=True)
        hash_name = rest[0].replace("sha2-", "sha") if rest else None
        if action == "verify":
            return {"data": {"valid": True}}
        assert asked.get("prehashed", False) == (hash_name is not None)
        assert int(asked["key_version"]) in (0, self.version)
        signature = b64encode(self.sign(data, hash_name)).decode()
        return {"data": {"signature": f"vault:v{self.version}:{signature}"}}

    def _aws(self, headers: dict[str, str], asked: dict[str, Any]) -> dict[str, Any]:
        assert "/eu-west-1/kms/aws4_request" in headers["authorization"]
        if asked["KeyId"] not in (AWS_ARN, "alias/release"):
            raise Refused(400, {"__type": "NotFoundException", "message": "no such alias"})
        rsa_key = isinstance(self.key, rsa.RSAPrivateKey)
        algorithm = "RSASSA_PKCS1_V1_5_SHA_256" if rsa_key else f"ECDSA_SHA_{self.curve[1]}"
        if headers["x-amz-target"] == "TrentService.GetPublicKey":
            offered = [algorithm, "RSASSA_PSS_SHA_256"] if rsa_key else [algorithm]
            key = b64encode(self.spki).decode()
            return {"KeyId": AWS_ARN, "PublicKey": key, "SigningAlgorithms": offered}
        if headers["x-amz-target"] == "TrentService.DescribeKey":
            return {"KeyMetadata": {"KeyId": AWS_ARN, "SigningAlgorithms": [algorithm]}}
        assert headers["x-amz-target"] == "TrentService.Sign"
        assert (asked["MessageType"], asked["SigningAlgorithm"]) == ("DIGEST", algorithm)
        hash_name = "sha" + algorithm[-3:]
        signature = self.sign(b64decode(asked["Message"], validate=True), hash_name)
        return {"KeyId": AWS_ARN, "Signature": b64encode(signature).decode()}

    def _google_token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        claims = jwt.decode(
            form["assertion"][0],
            self.client_key.public_key(),
            algorithms=["RS256"],
            audience="https://oauth2.googleapis.com/token",
        )
        assert claims["scope"].endswith("/auth/cloudkms")
        return {"access_token": GOOGLE_TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    def _google(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        if headers.get("authorization") != f"Bearer {GOOGLE_TOKEN}":
            raise Refused(401, {"error": {"code": 401, "message": "who are you?"}})
        key = "projects/p/locations/l/keyRings/r/cryptoKeys/release"
        name = f"{key}/cryptoKeyVersions/{self.version}"
        if path == f"/v1/{key}/cryptoKeyVersions":
            names = [f"{key}/cryptoKeyVersions/{n}" for n in (1, self.version, 2)]
            return {"cryptoKeyVersions": [{"name": item} for item in names]}
        if path == f"/v1/{name}/publicKey":
            if isinstance(self.key, ed25519.Ed25519PrivateKey):
                algorithm = "EC_SIGN_ED25519"
            elif isinstance(self.key, rsa.RSAPrivateKey):
                algorithm = f"RSA_SIGN_PKCS1_{self.key.key_size}_SHA256"
            else:
                algorithm = f"EC_SIGN_{self.curve[0].replace('-', '')}_SHA{self.curve[1]}"
            return {"pem": self.pem, "algorithm": algorithm, "name": name}
        if path != f"/v1/{name}:asymmetricSign":
            raise Refused(404, {"error": {"code": 404, "message": "no such key version"}})
        asked = json.loads(body)
        if "data" in asked:
            signature = self.sign(b64decode(asked["data"], validate=True), None)
        else:
            ((hash_name, digest),) = asked["digest"].items()
            signature = self.sign(b64decode(digest, validate=True), hash_name)
        return {"signature": b64encode(signature).decode(), "name": name}

    def _azure_token(self, query: dict[str, list[str]], headers: dict[str, str]) -> dict[str, Any]:
        assert headers["x-identity-header"] == AZURE_HEADER
        assert query["resource"] == ["https://vault.azure.net"]
        ends = str(int(time.time()) + 3600)
        return {"access_token": AZURE_TOKEN, "expires_on": ends, "token_type": "Bearer"}

    def _azure(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        if headers.get("authorization") != f"Bearer {AZURE_TOKEN}":
            raise Refused(401, {"error": {"code": "Unauthorized", "message": "who are you?"}})
        kid = f"https://vault.example.org/keys/release/v{self.version}"
        if not re.fullmatch(rf"/keys/release(/v{self.version}(/sign)?)?", path):
            raise Refused(404, {"error": {"code": "KeyNotFound", "message": "no such key"}})
        numbers = self.key.public_key().public_numbers()
        if not path.endswith("/sign"):
            if isinstance(self.key, rsa.RSAPrivateKey):
                jwk = {"kty": "RSA", "n": _url(numbers.n), "e": _url(numbers.e)}
            else:
                size = (self.key.curve.key_size + 7) // 8
                point = {"x": _url(numbers.x, size), "y": _url(numbers.y, size)}
                jwk = {"kty": "EC-HSM", "crv": self.curve[0], **point}
            return {"key": {"kid": kid, **jwk}}
        asked = json.loads(body)
        digest = urlsafe_b64decode(asked["value"] + "==")
        assert asked["alg"][2:] in ("256", "384", "512")
        signature = self.bare(self.sign(digest, f"sha{asked['alg'][2:]}"))
        return {"kid": kid, "value": urlsafe_b64encode(signature).decode().rstrip("=")}


def _url(number: int, size: int = 0) -> str:
    data = number.to_bytes(size or (number.bit_length() + 7) // 8)
    return urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def key_services() -> Iterator[Services]:
    """Serve on a free loopback port."""
    services = Services()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            services.asked.append((self.command, self.path))
            time.sleep(services.hold_s)
            token = self.path.startswith(("/google/token", "/azure/token"))
            status, answer = 200, {}
            try:
                if services.fail and not token:
                    raise Refused(services.fail, {"errors": ["out of order"]})
                answer = services.answer(self.command, self.path, headers, body)
                if services.odd is not None and not token:
                    answer = services.odd
            except Refused as refusal:
                status, answer = refusal.status, refusal.body
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    services.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield services
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha(hash_name: str, data: bytes) -> bytes:
    """A digest."""
    return hashlib.new(hash_name, data).digest()
