// SPDX-License-Identifier: Apache-2.0
// A SPIFFE agent's Workload API (FetchJWTSVID alone) over Node's own HTTP/2, on a Unix socket.
// Arguments: socket path, what to do. Written against the SPIFFE specification's workload.proto.
const http2 = require('node:http2');
const [path, way] = process.argv.slice(2);
const field = (number, text) => {
  const data = Buffer.from(text);
  const length = data.length < 128 ? [data.length] : [(data.length & 127) | 128, data.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), data]);
};
const server = http2.createServer();
server.on('stream', (stream, headers) => {
  const parts = [];
  stream.on('data', (part) => parts.push(part));
  stream.on('end', () => {
    const asked = Buffer.concat(parts);
    const expected = Buffer.concat([Buffer.from([0, 0, 0, 0, 10]), field(1, 'sigstore')]);
    const good = headers[':method'] === 'POST'
      && headers[':path'] === '/SpiffeWorkloadAPI/FetchJWTSVID'
      && headers['workload.spiffe.io'] === 'true'
      && headers['content-type'] === 'application/grpc'
      && headers.te === 'trailers'
      && asked.equals(expected);
    const ok = { ':status': 200, 'content-type': 'application/grpc' };
    if (!good || way === 'deny') {
      stream.respond({ ...ok, 'grpc-status': '7', 'grpc-message': 'no identity issued' }, { endStream: true });
      return;
    }
    const name = field(1, 'spiffe://example.org/signer');
    const token = `e30.${'a'.repeat(300)}.b`;
    const svid = field(1, Buffer.concat([name, field(2, token), field(3, 'a hint')]));
    stream.respond(ok, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(svid.length);
    stream.write(Buffer.concat([Buffer.from([0]), length]));
    stream.end(svid);
  });
});
server.listen(path, () => console.log('ready'));
