// A stand-in of E2B for tests: its REST API, and the daemon envd in its sandboxes.
//
// It follows the published contract: the OpenAPI and protobuf files of `e2b-dev/E2B` (`spec/`) and of `e2b-dev/infra`, as
// the SDK `e2b` 2.51.0 speaks it. What it answers is checked with that SDK (e2b-sdk.test.mjs).
//
// A sandbox is a folder and real processes of this machine: commands run under real bash, files are files, a pause stops
// all its processes, an end kills them. What names `/home/user` in a path, an argument or a variable means that folder.
// What it has not: watching of folders, limits of the network, users (all is done by whoever runs the tests). What is
// made from a snapshot does not begin with the memory of its processes: those that ran by themselves are started again, with
// the same arguments and variables, under other numbers (`revived`).
//
// Programs that would listen on a port of the sandbox listen on one of this machine instead, which stands in
// LOCAL_PORT_<port>. Host names cannot point here: whoever connects names the host in `x-e2b-host`, or the sandbox and the port
// in E2B's own headers.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Api, ApiError } from './e2b/api.mjs';
import { ENVD_PORT, serve } from './e2b/envd.mjs';
import { Templates } from './e2b/templates.mjs';
import { temporaryFolder } from './processes.mjs';

export const API_KEY = `e2b_${'0123456789abcdef'.repeat(3).slice(0, 40)}`;

/** How long a sandbox lives that a request woke, in seconds. */
const WOKEN_S = 300;

export class E2bServer {
  /**
   * `image`: the folder that sandboxes begin with (default: an empty one). `newest: false`: a deployment without the
   * second version of the API.
   */
  static async start({ image, ports = [], prepare, domain = 'e2b.test', newest = true } = {}) {
    const server = new E2bServer();
    const root = temporaryFolder();
    for (const name of ['sandboxes', 'templates', 'empty']) fs.mkdirSync(path.join(root, name));
    const templates = new Templates(image ?? path.join(root, 'empty'), path.join(root, 'templates'));
    server.api = new Api({ templates, root: path.join(root, 'sandboxes'), ports, prepare, domain, newest });
    Object.assign(server, { templates, domain, calls: [], faults: [] });
    server.http = http.createServer((request, response) => server.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => { server.http.listen(0, '127.0.0.1', resolve); });
    server.url = `http://127.0.0.1:${server.http.address().port}`;
    return server;
  }

  get sandboxes() {
    return [...this.api.sandboxes.values()];
  }

  /** Sandboxes that were not ended. */
  get alive() {
    return this.sandboxes.filter(({ state }) => state !== 'killed');
  }

  /** Requests to the API that match, such as `/^POST \/sandboxes$/`. */
  called(pattern) {
    return this.calls.filter((call) => pattern.test(call));
  }

  /**
   * The next requests that match `on` (of `METHOD /path`) are answered otherwise, `times` of them: `answer(response)` instead
   * of what is due, or after it, where `after` is set; `before` is awaited first.
   */
  fault(on, { times = 1, ...what }) {
    this.faults.push({ on, times, ...what });
  }

  async answer(request, response) {
    const url = new URL(request.url, 'http://e2b');
    const host = request.headers['x-e2b-host'] ?? request.headers.host;
    const named = /^(\d+)-([^.]+)\./.exec(host);
    const id = request.headers['e2b-sandbox-id'] ?? named?.[2];
    const port = Number(request.headers['e2b-sandbox-port'] ?? named?.[1]);
    const line = `${request.method} ${id ? `${port}:` : ''}${url.pathname}`;
    this.calls.push(line);
    const fault = this.faults.find(({ on, times }) => times > 0 && on.test(line));
    if (fault) fault.times -= 1;
    await fault?.before?.();
    if (fault?.answer && !fault.after) return void await fault.answer(response, request);
    if (fault?.after) {
      // What is due is done; the answer is another.
      await this.due(request, new http.ServerResponse(request), url, id, port);
      return void await fault.answer(response, request);
    }
    return this.due(request, response, url, id, port);
  }

  due(request, response, url, id, port) {
    return id ? this.reach(request, response, url, id, port) : this.rest(request, response, url);
  }

  /** A request to the API. */
  async rest(request, response, url) {
    let [status, body, headers] = [500];
    try {
      if (request.headers['x-api-key'] !== API_KEY) throw new ApiError(401, 'Invalid API key, please visit https://e2b.dev/docs/api-key for more information.');
      const text = (await request.setEncoding('utf8').toArray()).join('');
      [status, body, headers] = await this.api.answer(request.method, url, text ? JSON.parse(text) : null);
    } catch (error) {
      status = error.status ?? (error instanceof SyntaxError ? 400 : 500);
      body = { code: status, message: error.message };
    }
    const text = body === undefined ? '' : JSON.stringify(body);
    const described = text ? { 'content-type': 'application/json' } : {};
    response.writeHead(status, { ...(status === 204 ? {} : { 'content-length': Buffer.byteLength(text), ...described }), ...headers }).end(text);
  }

  /** A request to a sandbox: to its daemon, or to what listens in it. */
  async reach(request, response, url, id, port) {
    const refuse = (message) => response.writeHead(502, { 'content-type': 'application/json' }).end(JSON.stringify({ sandboxId: id, message, code: 502 }));
    const sandbox = this.api.sandboxes.get(id);
    await sandbox?.turn;
    if (sandbox?.state === 'paused' && sandbox.autoResume) await sandbox.resume(WOKEN_S);
    if (sandbox?.state !== 'running') return void refuse('The sandbox was not found');
    const connection = { socket: request.socket, method: request.method };
    sandbox.connections.add(connection);
    response.once('close', () => sandbox.connections.delete(connection));
    if (port === ENVD_PORT) return serve(sandbox, request, url, Buffer.concat(await request.toArray()), response);
    const real = sandbox.ports[port];
    const passed = http.request({ host: '127.0.0.1', port: real ?? 1, method: request.method, path: request.url, headers: request.headers });
    passed.once('error', () => (response.headersSent ? response.destroy() : refuse('The sandbox is running but port is not open')));
    passed.once('response', (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.once('error', () => response.destroy()).pipe(response);
    });
    response.once('close', () => passed.destroy());
    request.pipe(passed);
    return undefined;
  }

  /** Ends all sandboxes, then the server. */
  async stop() {
    await Promise.all(this.alive.map((sandbox) => sandbox.kill()));
    this.http.closeAllConnections();
    await new Promise((resolve) => { this.http.close(resolve); });
  }
}
