// SPDX-License-Identifier: Apache-2.0
// sigstore-js's public functions as a command: one JSON object on stdin, one on stdout.
//
//   {"do": "version"}
//   {"do": "sign" | "attest", "file", "payloadType"?, "bundle", "token", "url", "tsa"?}
//   {"do": "sign-by-config" | "attest-by-config", "file", "bundle", "token", "signingConfig"}
//   {"do": "verify", "bundle", "file"?, "policy": {…}, "mirror", "root", "cache"}
//   {"do": "verify-by-key", "bundle", "file"?, "hint", "key", "mirror", "root", "cache"}
//   {"do": "verify-by-root", "bundle", "file"?, "san", "issuer", "trustedRoot"}
//
// A refusal exits with 1 and {"code", "message"}; anything else that goes wrong exits with 2.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');

// The packages lie where NODE_PATH says, those that `sigstore` itself uses beside or below it.
const entry = require.resolve('sigstore');
const theirs = createRequire(entry);
const sigstore = require('sigstore');
const readJson = (name) => JSON.parse(fs.readFileSync(name, 'utf8'));
const contentType = 'application/vnd.in-toto+json';

const commands = {
  async version() {
    return readJson(path.join(path.dirname(entry), '..', 'package.json')).version;
  },

  async sign({ file, bundle, token, url, tsa }) {
    const options = { fulcioURL: url, rekorURL: url, tsaServerURL: tsa, identityToken: token };
    save(bundle, await sigstore.sign(fs.readFileSync(file), options));
  },

  async attest({ file, payloadType, bundle, token, url, tsa }) {
    const options = { fulcioURL: url, rekorURL: url, tsaServerURL: tsa, identityToken: token };
    const payload = fs.readFileSync(file);
    save(bundle, await sigstore.attest(payload, payloadType ?? contentType, options));
  },

  'sign-by-config': (asked) => byConfig(asked, 'messageSignature', {}),
  'attest-by-config': (asked) => byConfig(asked, 'dsseEnvelope', { type: contentType }),

  async verify({ bundle, file, policy, mirror, root, cache }) {
    const options = { ...policy, tufMirrorURL: mirror, tufRootPath: root, tufCachePath: cache };
    const data = file && fs.readFileSync(file);
    const args = data ? [data, options] : [options];
    return signer(await sigstore.verify(readJson(bundle), ...args));
  },

  async 'verify-by-key'({ bundle, file, hint, key, mirror, root, cache }) {
    const keySelector = (named) => (named === hint ? fs.readFileSync(key, 'utf8') : undefined);
    const options = { keySelector, tufMirrorURL: mirror, tufRootPath: root, tufCachePath: cache };
    const args = file ? [fs.readFileSync(file), options] : [options];
    await sigstore.verify(readJson(bundle), ...args);
  },

  async 'verify-by-root'({ bundle, file, san, issuer, trustedRoot }) {
    const { TrustedRoot } = theirs('@sigstore/protobuf-specs');
    const { bundleFromJSON } = theirs('@sigstore/bundle');
    const { toSignedEntity, toTrustMaterial, Verifier } = theirs('@sigstore/verify');
    const material = toTrustMaterial(TrustedRoot.fromJSON(readJson(trustedRoot)));
    const thresholds = { ctlogThreshold: 1, tlogThreshold: 1, timestampThreshold: 2 };
    const data = file && fs.readFileSync(file);
    const entity = toSignedEntity(bundleFromJSON(readJson(bundle)), data);
    const policy = { subjectAlternativeName: san, extensions: { issuer } };
    return signer(new Verifier(material, thresholds).verify(entity, policy));
  },
};

async function byConfig({ file, bundle, token, signingConfig }, bundleType, more) {
  const { SigningConfig } = theirs('@sigstore/protobuf-specs');
  const { bundleBuilderFromSigningConfig } = theirs('@sigstore/sign');
  const { bundleToJSON } = theirs('@sigstore/bundle');
  const builder = bundleBuilderFromSigningConfig({
    signingConfig: SigningConfig.fromJSON(readJson(signingConfig)),
    identityProvider: { getToken: async () => token },
    bundleType,
  });
  save(bundle, bundleToJSON(await builder.create({ data: fs.readFileSync(file), ...more })));
}

function signer(verified) {
  const identity = verified.identity ?? {};
  return { san: identity.subjectAlternativeName, issuer: identity.extensions?.issuer };
}

function save(name, bundle) {
  fs.writeFileSync(name, JSON.stringify(bundle));
}

async function main() {
  const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
  return commands[asked.do](asked);
}

main().then(
  (result) => console.log(JSON.stringify(result ?? null)),
  (error) => {
    const code = error.code ?? error.constructor.name;
    console.log(JSON.stringify({ code, message: String(error.message), cause: String(error.cause) }));
    process.exitCode = code.endsWith('_ERROR') ? 1 : 2;
  },
);
