# SPDX-License-Identifier: Apache-2.0
"""`openssl ts` asks our timestamp authority and checks its tokens; we check openssl's."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import CountermarkError
from countermark.core.tsp.verify import verify_timestamp
from tests.support.matrix import Kind
from tests.support.peers import Did, Ours, Recorder, on_path
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("openssl")]

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
O = example.org
CN = ${ENV::CN}
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[leaf]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = ours
[ours]
serial = ${ENV::HOME}/serial
signer_cert = ${ENV::HOME}/leaf.pem
signer_key = ${ENV::HOME}/leaf.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class OpenSSL:
    """The command, in a folder that is also its home."""

    path: str
    ours: Ours

    def __call__(self, *arguments: str, name: str = "") -> Done:
        return self.ours.instance.run(self.path, *arguments, HOME=str(self.ours.folder), CN=name)

    def do(self, *arguments: str, name: str = "") -> str:
        done = self(*arguments, name=name)
        assert done.code == 0, done.err
        return done.out

    def file(self, name: str) -> str:
        return str(self.ours.folder / name)

    def verify(self, token: Path, *what: str) -> Done:
        """Check a response with the chain that the authority itself hands out."""
        with urlopen(f"{self.ours.instance.url}/api/v1/timestamp/certchain") as reply:
            blocks = reply.read().split(b"-----END CERTIFICATE-----")
        leaf, root = [block + b"-----END CERTIFICATE-----\n" for block in blocks[:-1]]
        Path(self.file("leaf.crt")).write_bytes(leaf)
        Path(self.file("root.crt")).write_bytes(root)
        chain = ("-CAfile", self.file("root.crt"), "-untrusted", self.file("leaf.crt"))
        return self("ts", "-verify", "-in", str(token), *what, *chain)

    def stamp(self, file: Path, *options: str) -> tuple[Path, Path]:
        """Have our authority stamp a file; returns the request and the response."""
        request, response = Path(f"{file}.tsq"), Path(f"{file}.tsr")
        self.do("ts", "-query", "-data", str(file), *options, "-out", str(request))
        asked = Request(
            f"{self.ours.instance.url}/api/v1/timestamp",
            request.read_bytes(),
            {"Content-Type": "application/timestamp-query"},
        )
        with urlopen(asked) as reply:
            assert reply.headers["Content-Type"] == "application/timestamp-reply"
            response.write_bytes(reply.read())
        return request, response

    def become_authority(self) -> None:
        """Make a root, a signer under it, and what `openssl ts -reply` wants to know."""
        Path(self.file("config")).write_text(CONFIG)
        Path(self.file("serial")).write_text("01\n")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.do(
            *("req", "-x509", "-config", self.file("config"), "-extensions", "root", *new_key),
            *("-keyout", self.file("root.key"), "-out", self.file("root.pem"), "-days", "30"),
            name="root",
        )
        self.do(
            *("req", "-config", self.file("config"), *new_key),
            *("-keyout", self.file("leaf.key"), "-out", self.file("leaf.csr")),
            name="signer",
        )
        self.do(
            *("x509", "-req", "-in", self.file("leaf.csr"), "-CA", self.file("root.pem")),
            *("-CAkey", self.file("root.key"), "-set_serial", "2", "-days", "30"),
            *("-extfile", self.file("config"), "-extensions", "leaf"),
            *("-out", self.file("leaf.pem")),
            name="signer",
        )

    def reply(self, file: Path) -> bytes:
        """A response of the authority that openssl is, about a file."""
        request, response = Path(f"{file}.tsq"), Path(f"{file}.tsr")
        self.do("ts", "-query", "-data", str(file), "-sha256", "-cert", "-out", str(request))
        self.do(
            *("ts", "-reply", "-config", self.file("config"), "-section", "ours"),
            *("-queryfile", str(request), "-out", str(response)),
        )
        return response.read_bytes()

    def certificate(self, name: str) -> str:
        """Base64 DER."""
        pem = Path(self.file(name)).read_text()
        return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


@pytest.fixture
def openssl(ours: Ours) -> OpenSSL:
    return OpenSSL(on_path("openssl"), ours)


@pytest.fixture
def did(openssl: OpenSSL, recorder: Recorder) -> Did:
    # "OpenSSL 3.0.19 27 Jan 2026 (…)": the system's own, so the page names the major version.
    return recorder("`openssl ts`", openssl("version").out.split()[1].partition(".")[0])


OPTIONS = {
    "SHA-256 with certificates": ("-sha256", "-cert"),
    "SHA-256 bare": ("-sha256",),
    "SHA-384 without nonce": ("-sha384", "-cert", "-no_nonce"),
    "SHA-512": ("-sha512", "-cert"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_they_verify_our_tokens(
    openssl: OpenSSL, ours: Ours, did: Did, options: tuple[str, ...]
) -> None:
    file, other = ours.file(), ours.file("another release\n", "other")
    request, response = openssl.stamp(file, *options)
    for what in (("-queryfile", str(request)), ("-data", str(file))):
        done = openssl.verify(response, *what)
        assert (done.code, "Verification: OK" in done.out + done.err) == (0, True), done.err
    other_request, _ = openssl.stamp(other, *options)
    for what in (("-queryfile", str(other_request)), ("-data", str(other))):
        assert openssl.verify(response, *what).code == 1
    authorities = TrustedRoot.parse(Path(ours.trusted_root).read_bytes()).timestamp_authorities
    verify_timestamp(response.read_bytes(), file.read_bytes(), authorities)
    with pytest.raises(CountermarkError):
        verify_timestamp(response.read_bytes(), other.read_bytes(), authorities)
    did(Kind.VERIFIED, f"token for {options[0].removeprefix('-').upper().replace('A', 'A-')}")
    did(Kind.REFUSED, "token for another file")


def test_they_verify_the_token_in_our_bundle(openssl: OpenSSL, ours: Ours, did: Did) -> None:
    bundle = json.loads(ours.sign(ours.file()).read_text())
    (stamp,) = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    response = ours.folder / "response"
    response.write_bytes(base64.b64decode(stamp["signedTimestamp"]))
    signature = ours.folder / "signature"
    signature.write_bytes(base64.b64decode(bundle["messageSignature"]["signature"]))
    assert openssl.verify(response, "-data", str(signature)).code == 0
    signature.write_bytes(signature.read_bytes()[:-1])
    assert openssl.verify(response, "-data", str(signature)).code == 1
    did(Kind.VERIFIED, "token in a bundle")


def test_we_verify_their_tokens(openssl: OpenSSL, ours: Ours, did: Did) -> None:
    """A bundle of ours whose timestamp openssl made, under a root that knows openssl's chain."""
    file = ours.file()
    bundle_file = ours.sign(file)
    bundle = json.loads(bundle_file.read_text())
    stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    openssl.become_authority()
    signature = ours.folder / "signature"
    signature.write_bytes(base64.b64decode(bundle["messageSignature"]["signature"]))
    stamps[0]["signedTimestamp"] = base64.b64encode(openssl.reply(signature)).decode()
    bundle_file.write_text(json.dumps(bundle))
    root = json.loads(Path(ours.trusted_root).read_text())
    chain = [{"rawBytes": openssl.certificate(name)} for name in ("leaf.pem", "root.pem")]
    (authority,) = root["timestampAuthorities"]
    others = {**authority, "certChain": {"certificates": chain}, "uri": "https://tsa.example.org"}
    root["timestampAuthorities"] = [others]
    root_file = ours.file(json.dumps(root), "root.json")

    def verify(root: str) -> Done:
        who = ("--unsafe-any-identity", "--trusted-root", root, "--bundle", str(bundle_file))
        return ours.instance.countermark("verify", "--json", *who, str(file))

    done = verify(str(root_file))
    assert done.code == 0, done.out + done.err
    assert "timestamp" in {check["check"] for check in done.json["results"][0]["checks"]}
    assert verify(ours.trusted_root).code == 1
    signature.write_bytes(b"something else")
    stamps[0]["signedTimestamp"] = base64.b64encode(openssl.reply(signature)).decode()
    bundle_file.write_text(json.dumps(bundle))
    assert verify(str(root_file)).code == 1
    did(Kind.SIGNED, "`ts -reply` in a bundle")
