// One sandbox: a folder with the home of its user, and processes that are marked as its own.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { MARK, fell, freeze, thaw } from './tree.mjs';

/** The home in every sandbox, as programs and clients name it. */
const HOME = '/home/user';

/** The version of the daemon: newer ones take files as they are, older ones forms only; this one takes both. */
export const ENVD_VERSION = '0.5.7';

const freePort = () => new Promise((resolve, reject) => {
  const server = net.createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

export class Sandbox {
  /** `image`: the folder that it is a copy of. `wish`: the body of the request that creates it. */
  constructor({ image, root, templateID, alias, wish, timeout, secure, env = {} }) {
    this.id = crypto.randomBytes(10).toString('hex');
    Object.assign(this, {
      root: path.join(root, this.id), templateID, alias, wish, state: 'running', startedAt: new Date(),
      metadata: wish.metadata ?? {}, network: wish.network ?? {}, commands: [], envdToken: secure ? crypto.randomBytes(16).toString('hex') : null,
      autoPause: wish.autoPause ?? false, autoResume: wish.autoResume?.enabled ?? false,
      variables: { ...env, ...wish.envVars }, ports: {}, processes: new Map(), connections: new Set(), revived: new Map(), turn: Promise.resolve(),
    });
    fs.cpSync(image, this.root, { recursive: true, verbatimSymlinks: true });
    for (const folder of [HOME, '/tmp']) fs.mkdirSync(path.join(this.root, folder), { recursive: true });
    this.live(timeout);
  }

  /** Gives the sandbox a port of this machine for each that a program in it is to listen on. */
  async reserve(ports) {
    for (const port of ports) this.ports[port] = await freePort();
  }

  /** From now on it lives for so many seconds. */
  live(seconds) {
    this.timeout = seconds;
    this.endAt = new Date(Date.now() + seconds * 1000);
    clearTimeout(this.clock);
    this.clock = setTimeout(() => this.expire(), Math.min(seconds * 1000, 2 ** 31 - 1));
    this.clock.unref();
  }

  /** Lives for so many seconds at least. */
  extend(seconds) {
    if (Date.now() + seconds * 1000 > this.endAt.getTime()) this.live(seconds);
  }

  expire() {
    return this.autoPause ? this.pause() : this.kill();
  }

  /** One change of the state after the other. */
  change(work) {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  pause() {
    return this.change(async () => {
      if (this.state !== 'running') return;
      clearTimeout(this.clock);
      this.state = 'paused';
      // Connections from outside do not outlive it.
      this.breakConnections();
      await freeze(this.id);
    });
  }

  resume(seconds) {
    return this.change(async () => {
      if (this.state !== 'paused') return;
      await thaw(this.id);
      this.state = 'running';
      this.startedAt = new Date();
      this.live(seconds);
    });
  }

  /** Does something while no process of it runs. */
  still(work) {
    return this.change(async () => {
      await freeze(this.id);
      try {
        return await work();
      } finally {
        if (this.state === 'running') await thaw(this.id);
      }
    });
  }

  kill() {
    return this.change(async () => {
      if (this.state === 'killed') return;
      clearTimeout(this.clock);
      this.state = 'killed';
      this.breakConnections();
      await fell(this.id);
      fs.rmSync(this.root, { recursive: true, force: true, maxRetries: 3 });
    });
  }

  /** Ends every connection from outside, or those that carry requests of one method, as a network does that fails. */
  breakConnections(method) {
    for (const connection of this.connections) if (!method || connection.method === method) connection.socket.destroy();
  }

  /** Where a path of the sandbox lies on this machine; a relative one begins at the home. */
  path(name) {
    const inside = path.posix.normalize(path.posix.resolve(HOME, name.replace(/^~(?=\/|$)/, HOME)));
    return path.join(this.root, inside);
  }

  /** The same for a text that may be anything: only what names the home means a path. */
  mapped(text) {
    return text === HOME || text.startsWith(`${HOME}/`) ? this.path(text) : text;
  }

  /** A path of this machine as it is named in the sandbox. */
  shown(file) {
    return `/${path.relative(this.root, file)}`;
  }

  /** What a program in it finds. Nothing of the environment of this process but the search path. */
  environment(envs = {}) {
    const ports = Object.entries(this.ports).map(([port, real]) => [`LOCAL_PORT_${port}`, String(real)]);
    const asked = Object.entries(envs).map(([name, value]) => [name, this.mapped(value)]);
    return {
      PATH: process.env.PATH, HOME: this.path(HOME), USER: 'user', LOGNAME: 'user', TMPDIR: this.path('/tmp'), GIT_CONFIG_NOSYSTEM: '1',
      E2B_SANDBOX: 'true', E2B_TEMPLATE_ID: this.templateID, ...Object.fromEntries(ports), ...this.variables, ...Object.fromEntries(asked),
      [MARK]: this.id,
    };
  }

  /**
   * Starts again what ran in the sandbox `from` when it was copied: a real snapshot holds the memory of processes. `revived`
   * says which number each has now.
   */
  revive(processes, from) {
    const texts = [[from.root, this.root], [from.id, this.id], ...Object.keys(this.ports).map((port) => [String(from.ports[port]), String(this.ports[port])])];
    const moved = (text) => texts.reduce((it, [old, now]) => it.replaceAll(old, now), text);
    for (const { pid, argv: [cmd, ...args], env, cwd } of processes) {
      const moves = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, moved(value)]));
      const child = spawn(cmd, args.map(moved), { cwd: moved(cwd), env: moves, detached: true, stdio: 'ignore' });
      this.revived.set(pid, child.pid);
    }
  }

  /** Starts a program. It leads a group of its own. */
  spawn(cmd, args = [], { cwd = HOME, envs, stdin = false } = {}) {
    return spawn(cmd, args.map((arg) => this.mapped(arg)), {
      cwd: this.path(cwd), env: this.environment(envs), detached: true, stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
  }
}
