// perfetto.js ENGINE_FOLDER TRACE SQL: loads a trace into Perfetto's own trace processor, as its page in a browser does,
// and prints the rows of a query as JSON.
//
// ENGINE_FOLDER has engine_bundle.js and trace_processor.wasm. Messages are those of protos/perfetto/trace_processor/
// trace_processor.proto: a stream of TraceProcessorRpc.

"use strict";
const fs = require("fs");
const path = require("path");

const [folder, traceFile, sql] = process.argv.slice(2);
const REQUEST = { append: 1, finalize: 2, query: 3 };
const FIELD = { message: 1, seq: 1, request: 2, fatal: 5, append: 101, query: 103, appended: 201, result: 203 };

function varint(n) {
  const out = [];
  while (n > 127) { out.push((n % 128) | 128); n = Math.floor(n / 128); }
  return Buffer.from([...out, n]);
}
const number = (field, n) => Buffer.concat([varint(field * 8), varint(n)]);
const bytes = (field, data) => Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);

// The fields of a message, in order: [field, number or bytes].
function* fields(data) {
  let at = 0;
  const next = () => {
    let n = 0n, shift = 0n, byte;
    do { byte = data[at++]; n |= BigInt(byte & 127) << shift; shift += 7n; } while (byte & 128);
    return n;
  };
  while (at < data.length) {
    const key = Number(next());
    const field = key >> 3;
    if ((key & 7) === 0) yield [field, next()];
    else if ((key & 7) === 2) { const n = Number(next()); yield [field, data.subarray(at, at + n)]; at += n; }
    else if ((key & 7) === 1) { yield [field, data.subarray(at, at + 8)]; at += 8; }
    else throw new Error(`wire type ${key & 7}`);
  }
}

function* packed(data) {
  let n = 0n, shift = 0n;
  for (const byte of data) {
    n |= BigInt(byte & 127) << shift; shift += 7n;
    if (!(byte & 128)) { yield n; n = 0n; shift = 0n; }
  }
}

// The rows of a QueryResult's batches.
function rows(results) {
  const names = [], out = [];
  let row = {}, column = 0;
  for (const result of results) for (const [field, value] of fields(result)) {
    if (field === 1) names.push(value.toString());
    if (field === 2 && value.length) throw new Error(value.toString());
    if (field !== 3) continue;
    let cells = [], ints = [], floats = [], strings = [];
    for (const [part, data] of fields(value)) {
      if (part === 1) cells = [...packed(data)].map(Number);
      if (part === 2) ints = [...packed(data)];
      if (part === 3) for (let i = 0; i < data.length; i += 8) floats.push(data.readDoubleLE(i));
      if (part === 5) strings = data.toString().split("\0");
    }
    for (const cell of cells) {
      const name = names[column];
      if (cell === 1) row[name] = null;
      if (cell === 2) row[name] = Number(BigInt.asIntN(64, ints.shift()));
      if (cell === 3) row[name] = floats.shift();
      if (cell === 4) row[name] = strings.shift();
      if (++column === names.length) { out.push(row); row = {}; column = 0; }
    }
  }
  return out;
}

const replies = [];
let waiting = null;
const port = {
  postMessage(data) { replies.push(Buffer.from(data)); if (waiting) waiting(); },
};
const file = (url) => fs.readFileSync(path.join(folder, path.basename(String(url))));
// What the engine takes for a worker of a browser. It loads its WebAssembly by a synchronous request.
class XMLHttpRequest {
  open(_, url) { this.url = url; }
  send() { this.response = new Uint8Array(file(this.url)).buffer; this.status = 200; }
}
const worker = { location: { href: "file:///engine_bundle.js", protocol: "file:", host: "" } };
const names = {
  self: worker, location: worker.location, WorkerGlobalScope: class {}, importScripts() {}, XMLHttpRequest,
  // It is not to see that this is Node.
  process: undefined, require: undefined, module: undefined,
  console: { log() {}, info() {}, warn() {}, debug() {}, error() {} },
};
new Function(...Object.keys(names), file("engine_bundle.js").toString())(...Object.values(names));

async function call(type, args) {
  call.seq = (call.seq || 0) + 1;
  const rpc = Buffer.concat([number(FIELD.seq, call.seq), number(FIELD.request, type), ...args]);
  port.onmessage({ data: new Uint8Array(bytes(FIELD.message, rpc)) });
  const results = [];
  for (;;) {
    while (replies.length === 0) await new Promise((go) => { waiting = go; });
    for (const [, message] of fields(replies.shift())) {
      let last = type !== REQUEST.query;
      for (const [field, value] of fields(message)) {
        if (field === FIELD.fatal) throw new Error(value.toString());
        if (field === FIELD.appended) for (const [at, text] of fields(value)) if (at === 2 && text.length) throw new Error(text.toString());
        if (field !== FIELD.result) continue;
        results.push(value);
        for (const [part, batch] of fields(value)) {
          if (part === 3) for (const [at, flag] of fields(batch)) last ||= at === 6 && flag === 1n;
          last ||= part === 2 && batch.length > 0;
        }
      }
      if (last) return results;
    }
  }
}

(async () => {
  worker.onmessage({ data: port });
  // The engine sets up its buffer in a promise.
  await new Promise(setImmediate);
  const trace = fs.readFileSync(traceFile);
  for (let at = 0; at < trace.length; at += 1 << 20) {
    await call(REQUEST.append, [bytes(FIELD.append, trace.subarray(at, at + (1 << 20)))]);
  }
  await call(REQUEST.finalize, []);
  console.log(JSON.stringify(rows(await call(REQUEST.query, [bytes(FIELD.query, bytes(1, Buffer.from(sql)))]))));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
