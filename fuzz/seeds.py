# SPDX-License-Identifier: Apache-2.0
"""Makes the seed corpus: small real inputs of every kind. ``python -m fuzz.seeds`` writes it.

Keys are made anew, and only their public halves are kept, so each run writes other bytes with
the same names, sizes and meaning. Seeds that verify do so under roots and keys that are seeds
themselves (`fuzz.context`), hence all are written together.
"""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from countermark.app.instance import new_instance
from countermark.core.crypto import der
from countermark.core.ct.leaf import CertificateEntry, TimestampedEntry, extra_data
from countermark.core.ct.sct import parse_sct_list
from countermark.core.ct.static_ct import (
    TileLeaf,
    checkpoint_signature,
    digitally_signed,
    leaf_index_extension,
)
from countermark.core.errors import DuplicateEntry, FormatError, Pushback
from countermark.core.tlog.bundles import ENTRIES, ENTRIES32
from countermark.core.tsp.request import TimestampRequest
from countermark.core.wire import ct, fulcio, oidc, tsa
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire.oauth import AuthorizationRequest, CodeExchange, code_challenge
from countermark.core.wire.rekor_v1_requests import read_proposal
from countermark.rpc import codec, framing
from fuzz import git_seeds, signing_seeds
from fuzz.context import CORPUS
from tests.support.authority import github_claims
from tests.support.forge import ISSUER, NAME, Forge, statement
from tests.support.made_certificates import NOW, path_of, root_of, spki, to_der
from tests.support.old_cosign import certificate_pem, old_bundle, rekor_bundle
from tests.support.rekor import SigningKey, b64, dsse, encode, envelope, hashedrekord, intoto
from tests.support.witnesses import MadeWitness

Seeds = dict[str, bytes]
MAX_TOTAL_BYTES = 300_000
_EXPIRES_S = 4_000_000_000
_POLICY_PAGE = Path(__file__).parents[1] / "docs/reference/policy-file.md"


class _Maker:
    """The keys that several families share."""

    def __init__(self) -> None:
        self.forge = Forge()
        self.key = SigningKey.new()
        self.p256 = ec.generate_private_key(ec.SECP256R1())
        self.p384 = ec.generate_private_key(ec.SECP384R1())
        self.ed25519 = ed25519.Ed25519PrivateKey.generate()
        self.rsa = rsa.generate_private_key(65537, 2048)

    # --- crypto ------------------------------------------------------------------------------

    def der(self) -> Seeds:
        everything = der.sequence(
            der.integer(-(2**70)), der.boolean(True), der.oid("1.3.6.1.4.1.57264.1.8"),
            der.NULL_VALUE, der.octet_string(b"x" * 200), der.bit_string(b"\x80"),
            der.utf8_string("é"), der.x509_time(NOW), der.generalized_time(NOW),
            der.set_of(der.integer(0), der.integer(128)), der.encode(der.context(3), b""),
        )  # fmt: skip
        return {"everything": everything, "key": spki(self.p256)}

    def certificate(self) -> Seeds:
        bundle = self.forge.bundle()
        pem = self.forge.ca.public_bytes(Encoding.PEM) + self.forge.ca_root.public_bytes(
            Encoding.PEM
        )
        return {
            "leaf": bundle.certificates[0],
            "ca": to_der(self.forge.ca),
            "tsa": to_der(self.forge.tsa),
            "chain.pem": pem,
        }

    def csr(self) -> Seeds:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
        builder = x509.CertificateSigningRequestBuilder(subject_name=name)
        plain = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
        extended = builder.add_extension(x509.BasicConstraints(True, 0), True)
        made = extended.sign(self.p256, hashes.SHA256())
        return {
            "p256": made.public_bytes(Encoding.DER),
            "p384.pem": plain.sign(self.p384, hashes.SHA384()).public_bytes(Encoding.PEM),
            "ed25519": plain.sign(self.ed25519, None).public_bytes(Encoding.DER),
            "rsa": plain.sign(self.rsa, hashes.SHA256()).public_bytes(Encoding.DER),
        }

    def public_key(self) -> Seeds:
        pkcs1 = self.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        wide = spki(ec.generate_private_key(ec.SECP521R1()))
        return {
            "p256": spki(self.p256),
            "p384": spki(self.p384),
            "p521": wide,
            "ed25519": spki(self.ed25519),
            "rsa": _public(self.rsa),
            "p256.pem": self.key.pem.encode(),
            "pkcs1.pem": pkcs1,
            "certificate.pem": self.forge.ca.public_bytes(Encoding.PEM),
        }

    def tsp_request(self) -> Seeds:
        plain = TimestampRequest("sha256", bytes(32), 7, None, certificates=True)
        bare = TimestampRequest("sha512", bytes(64), None, "1.2.3", certificates=False)
        return {
            "sha256": plain.serialize(),
            "sha512": bare.serialize(),
            "plain.json": tsa.request_to_json(plain),
            "bare.json": tsa.request_to_json(bare),
        }

    def tsp_response(self) -> Seeds:
        return {
            "sha256": self.forge.timestamp(b"a signature", NOW),
            "sha512": self.forge.timestamp(b"a signature", NOW, "sha512"),
        }

    # --- logs --------------------------------------------------------------------------------

    def note(self) -> Seeds:
        v1 = self.forge.checkpoint(bytes(32), 7, "v1").encode()
        v2 = self.forge.checkpoint(bytes(32), 7, "v2").encode()
        raw = self.ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {
            "v1": v1,
            "v2": v2,
            "two-signatures": v2 + v2[v2.rindex(b"\n\n") + 2 :],
            "extension": v1.replace(b"\n\n", b"\nTimestamp: 1\n\n", 1),
            "key": _note_key("log.example/1", raw),
            "small-order-key": _note_key("log.example/1", b"\x01" + bytes(31)),
        }

    def merkle(self) -> Seeds:
        leaves = [bytes((number,)) * 32 for number in range(11)]
        inclusion = [leaves[5], root_of(leaves), *path_of(5, leaves)]
        equal = [root_of(leaves)] * 2
        return {
            "inclusion": _sizes(5, 11) + b"".join(inclusion),
            "consistency": _sizes(11, 11) + b"".join(equal),
            "large": _sizes(2**40, 2**62) + bytes(32 * 64),
        }

    def tiles(self) -> Seeds:
        records = [b"one", b"", b"three"]
        leaf = self._tile_leaf()
        return {
            "entries": b"".join(map(ENTRIES.frame, records)),
            "entries32": b"".join(map(ENTRIES32.frame, records)),
            "data": leaf.serialize() * 2,
            "path": b"tile/1/x001/067.p/17",
            "bundle-path": b"tile/entries/000",
        }

    def _tile_leaf(self) -> TileLeaf:
        entry = CertificateEntry(b"\x07" * 32, to_der(self.forge.ca)[:120])
        timestamped = TimestampedEntry(1_800_000_000_000, entry, leaf_index_extension(3))
        return TileLeaf(timestamped, b"the precertificate", (b"\x09" * 32,))

    def ct_structures(self) -> Seeds:
        leaf = self._tile_leaf()
        certificate = self.forge.bundle().certificates[0]
        listed = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.PrecertificateSignedCertificateTimestamps
        )
        scts = der.decode(listed.value.public_bytes(), "list").content
        signed = digitally_signed(bytes(70), "PKIX_ECDSA_P256_SHA_256")
        return {
            "leaf": leaf.timestamped.merkle_tree_leaf(),
            "tile-leaf": leaf.serialize(),
            "sct-list": scts,
            "sct": parse_sct_list(scts)[0].serialize(),
            "extra-data": extra_data(b"", (b"a", b"b")),
            "extra-data-pre": extra_data(b"x", (b"a", b"b")),
            "leaf-index": leaf_index_extension(2**40 - 1),
            "checkpoint-signature": checkpoint_signature(1_800_000_000_000, signed),
        }

    def ct_request(self) -> Seeds:
        chain = [to_der(self.forge.ca), to_der(self.forge.ca_root)]
        return {"two": ct.add_chain_request(chain), "short": ct.add_chain_request([b"x"])}

    def log_entry(self) -> Seeds:
        text = envelope(b'{"subject":[{"digest":{"sha256":"aa"}}]}', self.key)
        two = envelope(b"{}", self.key, self.key)
        hashed = hashedrekord(self.key, b"artifact")
        upper = json.loads(json.dumps(hashed))
        upper["spec"]["data"]["hash"]["value"] = upper["spec"]["data"]["hash"]["value"].upper()
        numbers = encode(hashed)[:-1] + b',"x":[1e400,-0.0,1E+2,18446744073709551616]}'
        return {
            "hashedrekord.json": encode(hashed),
            "upper-case.json": encode(upper),
            "numbers.json": numbers,
            "dsse.json": encode(dsse(text, self.key.pem)),
            "dsse-two.json": encode(dsse(two, self.key.pem, self.key.pem)),
            "intoto.json": encode(intoto(text, self.key.pem)),
            "not-taken.json": b'{"kind":"rpm","apiVersion":"0.0.1","spec":{}}',
        }

    def log_query(self) -> Seeds:
        ids = ["aa" * 32, "01" * 40]
        query = {"entryUUIDs": ids, "logIndexes": [0, 7], "entries": None}
        entry = {"entries": [hashedrekord(self.key, b"artifact")]}
        return {
            "ids.json": encode(query),
            "entry.json": encode(entry),
            "id": ids[1].encode(),
            "number": b"9223372036854775807",
        }

    def log_reply(self) -> Seeds:
        bundle = self.forge.bundle()
        entry = bundle.tlog_entries[0]
        assert entry.inclusion_proof is not None
        body = entry.canonicalized_body
        proposal = read_proposal(encode(hashedrekord(self.key, b"artifact")))
        text = wire.entry_object(
            "01" * 40, body, entry.integrated_time, entry.log_id.hex(), 5, entry.inclusion_proof,
            entry.inclusion_promise,
        )  # fmt: skip
        head = ct.SignedTreeHead(7, 1_800_000_000_000, bytes(32), bytes(70))
        sct = parse_sct_list(self.ct_structures()["sct-list"])[0]
        return {
            "entry.json": wire.entry_reply(text),
            "body.json": body,
            "spec.json": bytes(proposal.spec),
            "error.json": wire.error_reply(400, "no"),
            "head.json": ct.tree_head_reply(head),
            "consistency.json": ct.consistency_reply([bytes(32)]),
            "proof.json": ct.proof_reply(3, [bytes(32)]),
            "entries.json": ct.entries_reply([(b"leaf", b"extra")]),
            "roots.json": ct.roots_reply([b"root"]),
            "sct.json": ct.add_chain_reply(sct),
        }

    # --- documents ---------------------------------------------------------------------------

    def bundle(self) -> Seeds:
        plans = {
            "v1": {},
            "v2": {"log": "v2"},
            "dsse": {"envelope": True},
            "intoto": {"envelope": True, "kind": "intoto"},
            "key": {"certificate": False},
            "only-time": {"promise": False},
        }
        made = {
            f"{name}.json": self.forge.bundle(**plan).serialize()  # type: ignore[arg-type]
            for name, plan in plans.items()
        }
        return made | {"older.json": _older(made["v1.json"])}

    def legacy(self) -> Seeds:
        made, dsse_bundle = self.forge.bundle(), self.forge.bundle(envelope=True)
        old = old_bundle(made)
        parts = (
            b64(made.signature).encode(),
            certificate_pem(made).encode(),
            encode(rekor_bundle(made)),
            made.timestamps[0],
        )
        return {
            "bundle.json": old,
            "envelope.json": old_bundle(dsse_bundle),
            "parts": b"\0\0".join(parts[:3]),
            "stamped": b"\0\0".join((parts[0], parts[1], b"", parts[3])),
            "lines": old + b"\n{}\n" + made.serialize() + b"\n",
        }

    def witness_policy(self) -> Seeds:
        names = ("w1.example", "w2.example/x", "w3.example")
        keys = [MadeWitness(name).vkey() for name in names]
        text = "".join(f"witness W{number} {key} https://w/\n" for number, key in enumerate(keys))
        raw = self.ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        log = b"log " + _note_key("log.example/1", raw) + b" https://log.example\n"
        return {
            "groups": log + f"{text}group A any W0 W1\ngroup G 2 A W2\nquorum G\n".encode(),
            "one": f"# remark\n\n{text}quorum W1\n".encode(),
            "none": b"quorum none\n",
        }

    def policy_file(self) -> Seeds:
        (example,) = re.findall(
            r"^```toml\n(.*?)^```$", _POLICY_PAGE.read_text(), re.MULTILINE | re.DOTALL
        )
        head = 'version = 1\n[[artifact]]\nfiles = "*"\n'
        regex = 'identity-regex = "(a|b)+@example[.]org"\nissuer-regex = "https://.*"\n'
        claim = 'issuer = "x"\nowner-id = ["1", "2"]\nref = { regex = "refs/.*" }\n'
        nested = "all = [{ any = [{ identity = 'a', issuer = 'b' }] }]\n"
        return {
            "example.toml": example.encode(),
            "regex.toml": f"{head}[[artifact.any]]\n{regex}[[artifact.any]]\n{claim}".encode(),
            "nested.toml": f"{head}{nested}[thresholds]\nscts = 2\n".encode(),
        }

    def git_signature(self) -> Seeds:
        return git_seeds.signatures(self.forge)

    def git_entry(self) -> Seeds:
        return git_seeds.entries(self.forge)

    def git_object(self) -> Seeds:
        return git_seeds.objects()

    def trusted_root(self) -> Seeds:
        return {"forged.json": self.forge.trusted_root().serialize()}

    def signing_config(self) -> Seeds:
        service = {
            "url": "https://log.example.org",
            "majorApiVersion": 1,
            "validFor": {"start": "2026-01-01T00:00:00Z", "end": "2030-01-01T00:00:00.5Z"},
            "operator": "example.org",
        }
        config = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            **{name: [service] for name in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls")},
            "rekorTlogConfig": {"selector": "EXACT", "count": 1},
            "tsaConfig": {"selector": "ANY"},
        }
        trust = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "signingConfig": config,
            "trustedRoot": json.loads(TRUSTED_ROOT_OF_NOBODY),
        }
        return {"all.json": encode(config), "trust-config.json": encode(trust)}

    def statement(self) -> Seeds:
        return {"one.json": statement(b"artifact")}

    def names(self) -> Seeds:
        return {
            "e-mail": b"(?i).+@example\\.org\nme@example.org",
            "workflow": b"^https://github\\.com/octo/[^/]+/.*$\nocto/x/a.yml@refs/heads/b c",
            "nested": b"((a|b){2,3}[^c-e]*)+\naaab%20",
            "digest": b"x*\nsha256:" + b"0a" * 32,
        }

    # --- identity ----------------------------------------------------------------------------

    def token(self) -> Seeds:
        claims = {
            "iss": ISSUER, "aud": "sigstore", "sub": "1", "email": NAME, "email_verified": True,
            "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": _EXPIRES_S,
        }  # fmt: skip
        rs256 = jwt.encode(claims, self.rsa, "RS256", headers={"kid": "rsa"})
        listed = {**claims, "aud": ["a", "sigstore"], "exp": float(_EXPIRES_S)}
        return {
            "rs256": rs256.encode(),
            "es256": jwt.encode(listed, self.p256, "ES256", headers={"kid": "ec"}).encode(),
            "eddsa": jwt.encode(claims, self.ed25519, "EdDSA").encode(),
            "none": b".".join((b"eyJhbGciOiJub25lIn0", rs256.encode().split(b".")[1], b"AA")),
        }

    def claims(self) -> Seeds:
        times = {"iss": ISSUER, "aud": "sigstore", "exp": _EXPIRES_S}
        email = {**times, "sub": "1", "email": NAME, "email_verified": "true"}
        return {
            "email.json": encode(email),
            "github.json": encode({**times, **github_claims(environment="production")}),
        }

    def jwks(self) -> Seeds:
        keys = [
            RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True) | {"kid": "rsa"},
            ECAlgorithm.to_jwk(self.p256.public_key(), as_dict=True) | {"kid": "ec", "use": "sig"},
            OKPAlgorithm.to_jwk(self.ed25519.public_key(), as_dict=True),
        ]
        return {"three-kinds.json": encode({"keys": keys})}

    def form(self) -> Seeds:
        verifier, redirect = "v" * 43, "http://localhost:1234/callback"
        asked = AuthorizationRequest("sigstore", redirect, code_challenge(verifier), "state", "n")
        exchange = CodeExchange("code", redirect, verifier)
        basic = b64("sigstore:").encode()
        return {
            "login": _query(asked.to_parameters()),
            "exchange": _query(exchange.to_parameters()) + b"\nBasic " + basic,
        }

    def signing_request(self) -> Seeds:
        proof = self.p256.sign(b"ann@example.com", ec.ECDSA(hashes.SHA256()))
        pem = der_pem(self.p256)
        csr = {"credentials": {}, "certificateSigningRequest": b64(self.csr()["p384.pem"])}
        legacy = {"publicKey": {"content": b64(pem)}, "signedEmailAddress": b64(proof)}
        return {
            "key.json": fulcio.signing_cert_request("a.b.c", pem, proof),
            "csr.json": encode(csr),
            "legacy.json": encode(legacy),
        }

    def reply(self) -> Seeds:
        chain = [to_der(self.forge.ca), to_der(self.forge.ca_root)]
        discovery = oidc.Discovery(issuer=ISSUER, jwks_uri=f"{ISSUER}/keys")
        return {
            "chain.json": fulcio.signing_cert_response(chain),
            "error.json": fulcio.error_body(3, "no"),
            "discovery.json": discovery.serialize(),
            "token.json": oidc.TokenReply(id_token="a.b.c", expires_in=60).serialize(),
            "fault.json": oidc.TokenFault("invalid_grant", "no").serialize(),
            "local.json": oidc.LocalTokenRequest(NAME).serialize(),
        }

    # --- processes ---------------------------------------------------------------------------

    def http(self) -> Seeds:
        post = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
        return {
            "get": b"GET /echo?x=1 HTTP/1.1\r\nhost: x\r\n\r\n",
            "post": post + b"content-length: 3\r\n\r\n\x00abc",
            "chunked": post + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n\x000\r\n\r\n",
            "expect": post + b"expect: 100-continue\r\ncontent-length: 1\r\n\r\n\x00x",
            "pipeline": b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n" * 3,
            "upgrade": b"GET /e%63ho HTTP/1.0\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        }

    def frames(self) -> Seeds:
        stream = framing.serialize(1, framing.REQUEST, b"one") + framing.serialize(
            2**32 - 1, framing.ERROR, b""
        )
        return {"whole": b"\xff" + stream, "bytewise": b"\x01" + stream}

    def messages(self) -> Seeds:
        from countermark.ca.messages import IssueCertificate
        from countermark.ctlog.messages import GetConsistency
        from countermark.oidc.messages import GrantCode
        from countermark.tlog.messages import AddEntry

        requests = {
            "issue": IssueCertificate(spki(self.p256), bytes(20), "email", NAME, ((1, "x"),)),
            "grant": GrantCode(NAME, "sigstore", "http://localhost/", "c" * 43, ""),
            "add": AddEntry(b"body", (bytes(32),)),
            "consistency": GetConsistency("main", 1, 2),
        }
        errors = {
            "duplicate": DuplicateEntry("twice", 7),
            "pushback": Pushback("later", 3),
            "format": FormatError("field", "is wrong"),
        }
        return {
            **{name: codec.encode(request) for name, request in requests.items()},
            **{name: codec.encode_error(error) for name, error in errors.items()},
        }

    def files(self) -> Seeds:
        record = {
            "url": "http://localhost:7446", "dataDir": "/nowhere", "recordedAt": 1_800_000_000,
            "trustedRoot": "{}", "signingConfig": "{}", "tufRoot": "{}",
        }  # fmt: skip
        config = new_instance("http://localhost:7446", datetime(2026, 1, 1, tzinfo=UTC), 1)
        settings = 'host = "127.0.0.1"\nport = 7446\nworkers = 2\n\n[[issuers]]\n'
        settings += 'url = "https://issuer.example"\ntype = "email"\n'
        return {
            "instances.json": encode({"version": 1, "instances": [record]}),
            "logins.json": encode({"version": 2, "emails": {"http://localhost:7446": NAME}}),
            "config.toml": b'url = "http://localhost:7446"\nemail = "me@example.org"\n',
            "settings.toml": settings.encode(),
            "instance.json": config.serialize(),
        }


TRUSTED_ROOT_OF_NOBODY = (
    '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],'
    '"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}'
)


def make() -> dict[str, Seeds]:
    """All seeds: by target, by file name."""
    maker = _Maker()
    families: dict[str, Callable[[], Seeds]] = {
        name.replace("_", "-"): getattr(maker, name)
        for name in vars(_Maker)
        if not name.startswith("_")
    }
    made = {name: family() for name, family in families.items()}
    return {**made, **signing_seeds.make(maker.forge)}


def main() -> None:
    """Write the corpus anew."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name, seeds in make().items():
        (CORPUS / name).mkdir(parents=True)
        for file, data in seeds.items():
            (CORPUS / name / file).write_bytes(data)


def der_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PEM of a public key."""
    form = PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(Encoding.PEM, form).decode()


def _public(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _note_key(name: str, raw: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    typed = b"\x01" + raw
    digest.update(name.encode() + b"\n" + typed)
    return f"{name}+{digest.finalize()[:4].hex()}+{b64(typed)}".encode()


def _sizes(*numbers: int) -> bytes:
    """Numbers as the target reads them: six bits of length, then the number."""
    return b"".join((number | (number.bit_length() << 58)).to_bytes(8) for number in numbers)


def _older(data: bytes) -> bytes:
    """A bundle in the form of version 0.1: a certificate chain, and no inclusion proof."""
    tree = json.loads(data)
    material = tree["verificationMaterial"]
    chain = {"certificates": [material.pop("certificate")]}
    material["x509CertificateChain"] = chain
    tree["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    for entry in material["tlogEntries"]:
        del entry["inclusionProof"]
    return encode(tree)


def _query(parameters: dict[str, str]) -> bytes:
    from urllib.parse import urlencode

    return urlencode(parameters).encode()


if __name__ == "__main__":
    main()
