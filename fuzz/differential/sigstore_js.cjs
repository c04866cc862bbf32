// SPDX-License-Identifier: Apache-2.0
// sigstore-js's verifier as a service: a line of JSON in, a line of JSON out, until the input ends.
//
//   {"bundle": base64, "artifact": base64, "root": path, "san", "issuer", "key": PEM?}
//   {"ok": true} or {"ok": false, "kind", "why"}
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const readline = require('node:readline');
const { createRequire } = require('node:module');

// The packages lie where NODE_PATH says, those that `sigstore` itself uses beside or below it.
const theirs = createRequire(require.resolve('sigstore'));
const { TrustedRoot } = theirs('@sigstore/protobuf-specs');
const { bundleFromJSON } = theirs('@sigstore/bundle');
const { toSignedEntity, toTrustMaterial, Verifier } = theirs('@sigstore/verify');

const roots = new Map();
function root(path) {
  if (!roots.has(path)) roots.set(path, TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(path, 'utf8'))));
  return roots.get(path);
}

function escaped(text) {
  return `^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
}

function verify({ bundle, artifact, root: path, san, issuer, key }) {
  const always = { publicKey: key && crypto.createPublicKey(key), validFor: () => true };
  const material = toTrustMaterial(root(path), key ? () => always : undefined);
  const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(bundle, 'base64'));
  const parsed = bundleFromJSON(JSON.parse(text));
  const entity = toSignedEntity(parsed, Buffer.from(artifact, 'base64'));
  const policy = { subjectAlternativeName: escaped(san), extensions: { issuer } };
  new Verifier(material).verify(entity, key ? undefined : policy);
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  let reply = { ok: true };
  try {
    verify(JSON.parse(line));
  } catch (error) {
    const kind = error.code ?? error.constructor.name;
    const why = [error.message, error.fields, error.cause?.message].flat().filter(Boolean).join('; ');
    reply = { ok: false, kind: String(kind), why: why.slice(0, 400) };
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
});
