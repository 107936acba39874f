// A stand-in of GitHub for tests: the calls of its REST API that the agents worker makes, and its git server.
//
// The API follows GitHub's published description (`github/rest-api-description`, version 2022-11-28): an App proves itself by a
// signed token, gets tokens of its installation for named repositories, and does with them what their permissions allow. It
// is checked with Octokit (github-octokit.test.mjs). The git server is git's own `git http-backend`; it asks for an
// installation token as GitHub does, by Basic authentication.
//
// Repositories are bare repositories in a folder of their own: branches that are pushed are the branches that the API shows.
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { serveGit } from './github/git.mjs';
import { serveTls } from './github/tls.mjs';
import { temporaryFolder } from './processes.mjs';

const run = promisify(execFile);

/** How long a token of an installation lives: an hour. */
const TOKEN_MS = 3_600_000;
/** The longest life of an App's own token, and how far clocks may differ, in seconds. */
const APP_TOKEN_S = 600;
const SKEW_S = 60;

class GitHubError extends Error {
  constructor(status, message, errors) {
    super(message);
    Object.assign(this, { status, errors });
  }
}

/** Routes: method, pattern, who may ask (the App itself, or an installation with this permission), and what answers. */
const ROUTES = [
  ['GET', '/app', 'app', (hub) => [200, hub.app()]],
  ['GET', '/repos/:owner/:name/installation', 'app', (hub, { repository }) => [200, { id: hub.installationId, app_id: hub.appId, account: { login: repository.owner } }]],
  ['POST', '/app/installations/:id/access_tokens', 'app', (hub, asked) => hub.mint(asked)],
  ['GET', '/repos/:owner/:name', 'metadata:read', (hub, { repository }) => [200, hub.shown(repository)]],
  ['GET', '/repos/:owner/:name/branches', 'contents:read', (hub, asked) => hub.branches(asked)],
  ['GET', '/repos/:owner/:name/pulls', 'pull_requests:read', (hub, asked) => hub.pulls(asked)],
  ['POST', '/repos/:owner/:name/pulls', 'pull_requests:write', (hub, asked) => hub.propose(asked)],
].map(([method, pattern, who, answer]) => [method, new RegExp(`^${pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`), who, answer]);

export class GitHubServer {
  /** `installed: false`: the App is installed for no repository. `tls`: git reaches it as `https://github.com` (github/tls.mjs). */
  static async start({ installed = true, tls = false } = {}) {
    const server = new GitHubServer();
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    Object.assign(server, {
      root: temporaryFolder(), installed, publicKey, appId: 4242, installationId: 17, repositories: [], tokens: [], calls: [], faults: [],
      // GitHub hands out keys in this form.
      privateKey: privateKey.export({ type: 'pkcs1', format: 'pem' }),
    });
    server.http = http.createServer((request, response) => server.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => { server.http.listen(0, '127.0.0.1', resolve); });
    server.url = `http://127.0.0.1:${server.http.address().port}`;
    if (tls) server.tls = await serveTls(temporaryFolder(), (request, response) => server.answer(request, response).catch(() => response.destroy()));
    return server;
  }

  /** Makes a repository with one commit on its default branch. */
  async create(fullName, { branch = 'main' } = {}) {
    const [owner, name] = fullName.split('/');
    const folder = path.join(this.root, owner, `${name}.git`);
    const repository = { owner, name, folder, defaultBranch: branch, pulls: [] };
    await run('git', ['init', '--quiet', '--bare', `--initial-branch=${branch}`, folder]);
    await this.git(repository, 'config', 'http.receivepack', 'true');
    const work = path.join(this.root, `${name}.work`);
    await run('git', ['clone', '--quiet', folder, work]);
    fs.writeFileSync(path.join(work, 'README.md'), `# ${name}\n`);
    const who = ['-c', 'user.name=Someone', '-c', 'user.email=someone@example.test'];
    await run('git', ['-C', work, ...who, 'add', '-A']);
    await run('git', ['-C', work, ...who, 'commit', '--quiet', '-m', 'Begin']);
    await run('git', ['-C', work, 'push', '--quiet', 'origin', `HEAD:refs/heads/${branch}`]);
    this.repositories.push(Object.assign(repository, { work }));
    return repository;
  }

  /** Runs git in a repository; what it prints. */
  async git({ folder }, ...words) {
    return (await run('git', ['--git-dir', folder, ...words])).stdout.trim();
  }

  /** The settings of a worker that uses it. */
  get settings() {
    return { GITHUB_APP_ID: String(this.appId), GITHUB_APP_PRIVATE_KEY: this.privateKey, GITHUB_APP_SLUG: 'the-app', GITHUB_API_BASE: this.url };
  }

  /** The next request that matches `on` (of `METHOD /path`) gets this answer instead. */
  fault(on, answer) {
    this.faults.push({ on, answer });
  }

  async answer(request, response) {
    const url = new URL(request.url, this.url);
    const line = `${request.method} ${url.pathname}`;
    this.calls.push(line);
    const fault = this.faults.findIndex(({ on }) => on.test(line));
    if (fault >= 0) return void this.faults.splice(fault, 1)[0].answer(response);
    const ofGit = /^\/([^/]+)\/([^/]+?)(?:\.git)?(\/(?:info\/refs|git-upload-pack|git-receive-pack))$/.exec(url.pathname);
    if (ofGit) return serveGit(this, request, response, url, ofGit.slice(1));
    let [status, body, headers] = [500];
    try {
      const text = (await request.setEncoding('utf8').toArray()).join('');
      [status, body, headers] = await this.rest(request, url, text ? JSON.parse(text) : {});
    } catch (error) {
      status = error.status ?? 500;
      body = { message: error.message, ...(error.errors ? { errors: error.errors } : {}), documentation_url: 'https://docs.github.com/rest', status: String(status) };
    }
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(JSON.stringify(body));
    return undefined;
  }

  async rest(request, url, body) {
    if (!request.headers['user-agent']) throw new GitHubError(403, 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header');
    for (const [method, pattern, who, answer] of ROUTES) {
      const found = method === request.method ? pattern.exec(url.pathname) : null;
      if (!found) continue;
      const names = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, text]) => [name, decodeURIComponent(text)]));
      const repository = names.name && this.find(names.owner, names.name);
      const secret = /^(?:bearer|token) (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
      if (who === 'app') this.checkApp(secret);
      // What a token may not see is not there.
      if (names.name && (!repository || (who === 'app' && !this.installed))) throw new GitHubError(404, 'Not Found');
      if (who !== 'app') this.checkToken(secret, repository, who);
      return answer(this, { ...names, repository, query: url.searchParams, body });
    }
    throw new GitHubError(404, 'Not Found');
  }

  find(owner, name) {
    const same = (a, b) => a.toLowerCase() === b.toLowerCase();
    return this.repositories.find((it) => same(it.owner, owner) && same(it.name, name)) ?? null;
  }

  /** Whether a token is one that the App signed, for now. */
  checkApp(token) {
    const refuse = (message) => { throw new GitHubError(401, message); };
    const [head, claims, signature] = (token ?? '').split('.');
    if (!signature) refuse('A JSON web token could not be decoded');
    const part = (text) => JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    const { iat, exp, iss } = part(claims);
    const now = Date.now() / 1000;
    if (part(head).alg !== 'RS256' || !crypto.verify('sha256', Buffer.from(`${head}.${claims}`), this.publicKey, Buffer.from(signature, 'base64url'))) {
      refuse('A JSON web token could not be decoded');
    }
    if (String(iss) !== String(this.appId)) refuse("'Issuer' claim ('iss') must be an Integer");
    if (!(exp > now)) refuse("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires");
    if (exp > now + APP_TOKEN_S + SKEW_S || exp - iat > APP_TOKEN_S + SKEW_S) refuse("'Expiration time' claim ('exp') is too far in the future");
    if (iat > now) refuse("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
  }

  app() {
    return { id: this.appId, slug: 'the-app', name: 'The App', owner: { login: 'someone' } };
  }

  /** A new token for an installation. */
  mint({ id, body }) {
    if (!this.installed || Number(id) !== this.installationId) throw new GitHubError(404, 'Not Found');
    const names = body.repositories ?? this.repositories.map(({ name }) => name);
    if (!names.every((name) => this.repositories.some((it) => it.name === name))) {
      throw new GitHubError(422, 'There is at least one repository that does not exist or is not accessible to the parent installation.');
    }
    const all = { contents: 'write', pull_requests: 'write', metadata: 'read' };
    const token = { text: `ghs_${crypto.randomBytes(27).toString('base64url').replace(/[-_]/g, 'x')}`, names, permissions: body.permissions ?? all, until: Date.now() + TOKEN_MS };
    this.tokens.push(token);
    return [201, {
      token: token.text, expires_at: new Date(token.until).toISOString().replace(/\.\d+Z$/, 'Z'), permissions: token.permissions,
      repository_selection: body.repositories ? 'selected' : 'all',
    }];
  }

  /** Whether a token may do this with a repository. */
  allowed(text, repository, permission) {
    const [area, level] = permission.split(':');
    const token = this.tokens.find((it) => it.text === text && it.until > Date.now());
    const granted = token?.names.includes(repository.name) ? token.permissions[area] ?? (area === 'metadata' ? 'read' : null) : null;
    return { known: Boolean(token), is: granted === 'write' || granted === level };
  }

  checkToken(text, repository, permission) {
    const { known, is } = this.allowed(text, repository, permission);
    if (!known) throw new GitHubError(401, 'Bad credentials');
    if (!is) throw new GitHubError(403, 'Resource not accessible by integration');
  }

  shown({ owner, name, defaultBranch }) {
    return { id: 1, name, full_name: `${owner}/${name}`, owner: { login: owner }, default_branch: defaultBranch, private: true };
  }

  async heads(repository) {
    const text = await this.git(repository, 'for-each-ref', '--format=%(refname:lstrip=2) %(objectname)', 'refs/heads');
    return text.split('\n').filter(Boolean).map((line) => line.split(' '));
  }

  async branches({ owner, name, repository, query }) {
    const list = (await this.heads(repository)).map(([branch, sha]) => ({ name: branch, commit: { sha }, protected: false }));
    return page(list, query, `${this.url}/repos/${owner}/${name}/branches`);
  }

  pulls({ owner, name, repository, query }) {
    const [state, head, base] = ['state', 'head', 'base'].map((key) => query.get(key));
    const fits = (it) => (state === 'all' || it.state === (state ?? 'open')) && (!head || it.head.label === head) && (!base || it.base.ref === base);
    return page(repository.pulls.filter(fits).reverse(), query, `${this.url}/repos/${owner}/${name}/pulls`);
  }

  async propose({ repository, body: { title, body, head, base, draft = false } }) {
    const invalid = (...errors) => new GitHubError(422, 'Validation Failed', errors);
    const shas = new Map(await this.heads(repository));
    for (const [field, ref] of [['head', head], ['base', base]]) {
      if (!shas.has(ref)) throw invalid({ resource: 'PullRequest', field, code: 'invalid' });
    }
    const label = `${repository.owner}:${head}`;
    if (repository.pulls.some((it) => it.state === 'open' && it.head.label === label && it.base.ref === base)) {
      throw invalid({ resource: 'PullRequest', code: 'custom', message: `A pull request already exists for ${label}.` });
    }
    if (await this.git(repository, 'rev-list', '--count', `${base}..${head}`) === '0') {
      throw invalid({ resource: 'PullRequest', code: 'custom', message: `No commits between ${base} and ${head}` });
    }
    const number = repository.pulls.length + 1;
    const made = {
      id: 9000 + number, number, state: 'open', draft, title, body, html_url: `https://github.com/${repository.owner}/${repository.name}/pull/${number}`,
      head: { ref: head, label, sha: shas.get(head) }, base: { ref: base, label: `${repository.owner}:${base}`, sha: shas.get(base) },
    };
    repository.pulls.push(made);
    return [201, made];
  }

  async stop() {
    await this.tls?.stop();
    this.http.closeAllConnections();
    await new Promise((resolve) => { this.http.close(resolve); });
  }
}

/** A page of a list, with the link to the next. */
function page(list, query, address) {
  const [size, number] = [Math.min(Number(query.get('per_page') ?? 30), 100), Number(query.get('page') ?? 1)];
  const more = list.length > size * number;
  const next = new URLSearchParams({ ...Object.fromEntries(query), page: String(number + 1) });
  return [200, list.slice(size * (number - 1), size * number), more ? { link: `<${address}?${next}>; rel="next"` } : {}];
}
