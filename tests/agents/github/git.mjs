// The git server of GitHub's stand-in: git's own `git http-backend`, behind a check of the token.
import { spawn } from 'node:child_process';

/** git over HTTP: who may come in is asked here, the rest is git's own program. The address names owner, repository and what is asked of it. */
export async function serveGit(hub, request, response, url, [owner, name, rest]) {
  const repository = hub.find(owner, name);
  const basic = /^basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const [user, token] = basic ? Buffer.from(basic, 'base64').toString('utf8').split(/:(.*)/s) : [];
  const writes = rest === '/git-receive-pack' || url.searchParams.get('service') === 'git-receive-pack';
  const refuse = (status, text, headers = {}) => response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(text);
  if (user !== 'x-access-token' || !hub.tokens.some((it) => it.text === token && it.until > Date.now())) {
    return void refuse(401, 'Invalid username or token.', { 'www-authenticate': 'Basic realm="GitHub"' });
  }
  if (!repository || !hub.allowed(token, repository, 'contents:read').is) return void refuse(404, 'Repository not found.');
  if (writes && !hub.allowed(token, repository, 'contents:write').is) return void refuse(403, 'Write access to repository not granted.');
  const env = {
    PATH: process.env.PATH, GIT_PROJECT_ROOT: hub.root, GIT_HTTP_EXPORT_ALL: '1', GIT_CONFIG_NOSYSTEM: '1', HOME: hub.root, REMOTE_USER: user,
    PATH_INFO: `/${repository.owner}/${repository.name}.git${rest}`, REQUEST_METHOD: request.method, QUERY_STRING: url.search.slice(1),
    CONTENT_TYPE: request.headers['content-type'] ?? '', HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
    GIT_PROTOCOL: request.headers['git-protocol'] ?? '', ...(request.headers['content-length'] ? { CONTENT_LENGTH: request.headers['content-length'] } : {}),
  };
  const child = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  const output = Buffer.concat(await child.stdout.toArray());
  const end = output.indexOf('\r\n\r\n');
  const headers = Object.fromEntries(output.subarray(0, end).toString('latin1').split('\r\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
  const { Status: status = '200', ...others } = headers;
  response.writeHead(Number.parseInt(status, 10), others).end(output.subarray(end + 4));
  return undefined;
}
