// envd, the daemon of a sandbox: its health, files, and the two services of the Connect protocol.
import { ConnectError, readEnvelope } from './connect.mjs';
import * as files from './files.mjs';
import * as processes from './processes.mjs';

/** The port under which clients find it. */
export const ENVD_PORT = 49983;

const SERVICES = { 'process.Process': processes.unary, 'filesystem.Filesystem': files.unary };

function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Answers a request to a running sandbox. */
export async function serve(sandbox, request, url, body, response) {
  if (request.method === 'GET' && url.pathname === '/health') return void response.writeHead(204).end();
  if (sandbox.envdToken && request.headers['x-access-token'] !== sandbox.envdToken) {
    return json(response, 401, { code: 401, message: 'unauthorized access, please provide a valid access token or method signing if supported' });
  }
  if (url.pathname === '/files') return file(sandbox, request, url, body, response);
  const [, service, method] = url.pathname.split('/');
  try {
    const streams = (request.headers['content-type'] ?? '').startsWith('application/connect+json');
    if (service === 'process.Process' && streams && method === 'Start') {
      return await processes.start(sandbox, readEnvelope(body), request, response);
    }
    if (service === 'process.Process' && streams && method === 'Connect') {
      const running = processes.select(sandbox, readEnvelope(body));
      return processes.listen(running, request, response).send({ event: { start: { pid: running.child.pid } } });
    }
    const known = SERVICES[service]?.[method];
    if (!known) throw new ConnectError('unimplemented', `${url.pathname} is not implemented`);
    return json(response, 200, await known(sandbox, body.length ? JSON.parse(body) : {}));
  } catch (thrown) {
    const error = thrown instanceof ConnectError ? thrown : new ConnectError('internal', thrown.message);
    return json(response, error.status, error.body);
  }
}

async function file(sandbox, request, url, body, response) {
  const name = url.searchParams.get('path') ?? '';
  try {
    if (request.method === 'POST') return json(response, 200, await files.upload(sandbox, name, request.headers['content-type'] ?? '', body));
    const content = files.download(sandbox, name);
    return void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(content);
  } catch (error) {
    const status = error.status ?? 500;
    return json(response, status, { code: status, message: error.message });
  }
}
