// E2B's REST API.
import { wrong } from './network.mjs';
import { ENVD_VERSION, Sandbox } from './sandbox.mjs';

/** The longest life of a sandbox, in seconds: a day. */
const MAX_TIMEOUT_S = 86_400;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const missing = (id) => new ApiError(404, `Sandbox "${id}" doesn't exist or you don't have access to it`);

/** Routes: method, pattern of the path, and what answers. The first of a kind wins. */
const ROUTES = [
  ['POST', '/v2/sandboxes', (api, { body }) => api.create({ timeout: 300, ...body }, true)],
  ['POST', '/sandboxes', (api, { body }) => api.create({ timeout: 15, ...body }, body.secure ?? false)],
  ['GET', '/v2/sandboxes', (api, { query }) => api.list(query)],
  ['GET', '/sandboxes/:id', (api, { id }) => [200, api.detail(api.sandbox(id))]],
  ['DELETE', '/sandboxes/:id', (api, { id }) => api.kill(id)],
  ['POST', '/v2/sandboxes/:id/connect', (api, { id, body }) => api.connect(id, { timeout: 300, ...body })],
  ['POST', '/sandboxes/:id/connect', (api, { id, body }) => api.connect(id, body)],
  ['POST', '/sandboxes/:id/resume', (api, { id, body }) => api.resume(id, { timeout: 15, ...body })],
  ['PUT', '/sandboxes/:id/network', (api, { id, body }) => api.setNetwork(id, body)],
  ['POST', '/sandboxes/:id/pause', (api, { id }) => api.pause(id)],
  ['POST', '/sandboxes/:id/timeout', (api, { id, body }) => api.setTimeout(id, body)],
  ['POST', '/sandboxes/:id/refreshes', (api, { id, body }) => api.refresh(id, body)],
  ['POST', '/sandboxes/:id/snapshots', (api, { id, body }) => api.snapshot(id, body)],
  ['GET', '/snapshots', (api, { query }) => [200, api.templates.snapshots(query.get('sandboxID'))]],
  ['GET', '/templates/aliases/:id', (api, { id }) => api.alias(id)],
  ['DELETE', '/templates/:id', (api, { id }) => api.removeTemplate(id)],
  ['POST', '/v3/templates', (api, { body }) => [202, api.templates.request(body)]],
  ['POST', '/v2/templates/:id/builds/:build', (api, { build, body }) => api.build(build, body)],
  ['GET', '/templates/:id/builds/:build/status', (api, { build, query }) => api.buildStatus(build, query)],
].map(([method, pattern, answer]) => [method, new RegExp(`^${pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`), answer]);

export class Api {
  /** `ports`: those that programs in sandboxes listen on. `prepare` furnishes a sandbox before it is given out. */
  constructor({ templates, root, ports, prepare, domain, newest }) {
    Object.assign(this, { templates, root, ports, prepare, domain, newest, sandboxes: new Map() });
  }

  /** The answer to a request: status, body and headers. */
  async answer(method, url, body) {
    for (const [wanted, pattern, answer] of ROUTES) {
      const found = wanted === method ? pattern.exec(url.pathname) : null;
      // An older deployment does not have the second version of these two.
      if (!found || (!this.newest && method === 'POST' && url.pathname.startsWith('/v2/sandboxes'))) continue;
      const names = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, text]) => [name, decodeURIComponent(text)]));
      return answer(this, { ...names, query: url.searchParams, body: body ?? {} });
    }
    throw new ApiError(404, 'no matching operation was found');
  }

  sandbox(id) {
    const found = this.sandboxes.get(id);
    if (!found || found.state === 'killed') throw missing(id);
    return found;
  }

  checked(timeout) {
    if (!Number.isInteger(timeout) || timeout < 0) throw new ApiError(400, 'Error when parsing request: timeout');
    if (timeout > MAX_TIMEOUT_S) throw new ApiError(400, `Timeout cannot be greater than ${MAX_TIMEOUT_S / 3600} hours`);
    return timeout;
  }

  async create(wish, secure) {
    if (typeof wish.templateID !== 'string') throw new ApiError(400, 'Error when parsing request: templateID');
    const template = this.templates.find(wish.templateID);
    if (!template) throw new ApiError(404, `template '${wish.templateID}' not found`);
    this.checkNetwork(wish.network);
    const { folder: image, templateID, env, startCmd, names, running } = template;
    const sandbox = new Sandbox({ image, root: this.root, templateID, alias: names[0], wish, timeout: this.checked(wish.timeout), secure, env });
    await sandbox.reserve(this.ports);
    this.sandboxes.set(sandbox.id, sandbox);
    if (running) sandbox.revive(running.processes, running.from);
    this.prepare?.(sandbox);
    if (startCmd) sandbox.spawn('/bin/bash', ['-l', '-c', startCmd]);
    return [201, this.made(sandbox)];
  }

  made(sandbox) {
    return {
      sandboxID: sandbox.id, templateID: sandbox.templateID, clientID: 'client', envdVersion: ENVD_VERSION, domain: this.domain,
      ...(sandbox.alias ? { alias: sandbox.alias } : {}), ...(sandbox.envdToken ? { envdAccessToken: sandbox.envdToken } : {}),
    };
  }

  detail(sandbox) {
    return {
      ...this.made(sandbox), startedAt: sandbox.startedAt.toISOString(), endAt: sandbox.endAt.toISOString(), state: sandbox.state,
      metadata: sandbox.metadata, cpuCount: 2, memoryMB: 512, diskSizeMB: 1024,
    };
  }

  list(query) {
    const states = (query.get('state') ?? 'running,paused').split(',');
    const wanted = [...new URLSearchParams(query.get('metadata') ?? '')];
    const fits = (it) => states.includes(it.state) && wanted.every(([name, value]) => it.metadata[name] === value);
    const all = [...this.sandboxes.values()].filter(fits);
    const [from, limit] = [Number(query.get('nextToken') ?? 0), Math.min(Number(query.get('limit') ?? 100), 100)];
    const more = from + limit < all.length ? { 'x-next-token': String(from + limit) } : {};
    const listed = ({ envdAccessToken: _, domain: __, ...rest }) => rest;
    return [200, all.slice(from, from + limit).map((it) => listed(this.detail(it))), more];
  }

  async kill(id) {
    await this.sandbox(id).kill();
    return [204];
  }

  async connect(id, { timeout }) {
    const sandbox = this.sandbox(id);
    this.checked(timeout);
    await sandbox.turn;
    if (this.sandbox(id).state === 'running') {
      sandbox.extend(timeout);
      return [200, this.made(sandbox)];
    }
    await sandbox.resume(timeout);
    return [201, this.made(sandbox)];
  }

  async resume(id, { timeout }) {
    const sandbox = this.sandbox(id);
    if (sandbox.state !== 'paused') throw new ApiError(409, `Sandbox ${id} is already running`);
    await sandbox.resume(this.checked(timeout));
    return [201, this.made(sandbox)];
  }

  async pause(id) {
    const sandbox = this.sandbox(id);
    if (sandbox.state !== 'running') throw new ApiError(409, `Sandbox ${id} is already paused`);
    await sandbox.pause();
    return [204];
  }

  running(id) {
    const sandbox = this.sandbox(id);
    if (sandbox.state !== 'running') throw new ApiError(404, `Sandbox "${id}" is not running`);
    return sandbox;
  }

  checkNetwork(rules) {
    const fault = wrong(rules);
    if (fault) throw new ApiError(400, fault);
  }

  setNetwork(id, rules) {
    this.checkNetwork(rules);
    this.running(id).network = rules;
    return [204];
  }

  setTimeout(id, { timeout }) {
    this.running(id).live(this.checked(timeout));
    return [204];
  }

  refresh(id, { duration }) {
    this.running(id).extend(Math.min(this.checked(duration), 3600));
    return [204];
  }

  async snapshot(id, { name }) {
    return [201, await this.templates.snapshot(this.running(id), name)];
  }

  alias(name) {
    const found = this.templates.find(name);
    if (!found) throw new ApiError(404, `template '${name}' not found`);
    return [200, { templateID: found.templateID, public: false }];
  }

  removeTemplate(name) {
    if (!this.templates.remove(name)) throw new ApiError(404, `template '${name}' not found`);
    return [204];
  }

  building(build) {
    const found = this.templates.builds.get(build);
    if (!found) throw new ApiError(404, `build '${build}' not found`);
    return found;
  }

  build(build, body) {
    this.building(build);
    if (!body.fromImage && !body.fromTemplate) throw new ApiError(400, 'must specify either fromImage or fromTemplate');
    this.templates.build(build, body);
    return [202];
  }

  buildStatus(build, query) {
    return [200, this.templates.status(this.building(build), Number(query.get('logsOffset') ?? 0))];
  }
}
