// What sandboxes are made from: the image that every template begins with, templates that were built, and snapshots.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Sandbox } from './sandbox.mjs';
import { remembered } from './tree.mjs';

const newId = () => crypto.randomBytes(10).toString('hex');

export class Templates {
  /** `image`: the folder of the template `base`. `root`: where folders of others come to be. */
  constructor(image, root) {
    Object.assign(this, { root, builds: new Map(), gate: Promise.resolve() });
    this.known = [{ templateID: 'base', names: ['base'], folder: image, env: {} }];
  }

  /** The template with this id, name or alias, with or without its tag. */
  find(name) {
    const plain = String(name).replace(/:default$/, '');
    return this.known.find((it) => it.templateID === plain || it.names.includes(plain)) ?? null;
  }

  /** A copy of a sandbox as it is now. */
  async snapshot(sandbox, name) {
    const templateID = newId();
    const folder = path.join(this.root, templateID);
    const { id, root, ports } = sandbox;
    const running = await sandbox.still(async () => {
      fs.cpSync(root, folder, { recursive: true, verbatimSymlinks: true });
      return { from: { id, root, ports }, processes: await remembered(id, sandbox.processes) };
    });
    const names = name ? [name.includes('/') ? name : `team/${name}`] : [];
    this.known.push({ templateID, names, folder, running, env: sandbox.variables, sandboxID: sandbox.id });
    return { snapshotID: `${names[0] ?? templateID}:default`, names: names.map((it) => `${it}:default`) };
  }

  snapshots(sandboxID) {
    return this.known.filter((it) => it.sandboxID && (!sandboxID || it.sandboxID === sandboxID))
      .map((it) => ({ snapshotID: `${it.names[0] ?? it.templateID}:default`, names: it.names.map((name) => `${name}:default`) }));
  }

  remove(name) {
    const found = this.find(name);
    if (!found || found.templateID === 'base') return false;
    this.known = this.known.filter((it) => it !== found);
    fs.rmSync(found.folder, { recursive: true, force: true });
    return true;
  }

  /** Names a template that is to be built. */
  request({ name, alias }) {
    const build = { templateID: newId(), buildID: newId(), name: (name ?? alias).replace(/:.*/, ''), status: 'waiting', logs: [] };
    this.builds.set(build.buildID, build);
    return { templateID: build.templateID, buildID: build.buildID, public: false, names: [build.name], aliases: [build.name], tags: ['default'] };
  }

  /** Builds it: its steps are carried out in a copy of the image. It is ready when `gate` is open. */
  async build(buildID, { steps = [], startCmd }) {
    const build = this.builds.get(buildID);
    build.status = 'building';
    const base = this.find('base');
    const workshop = new Sandbox({ image: base.folder, root: this.root, templateID: build.templateID, wish: {}, timeout: 3600, secure: false });
    try {
      const env = {};
      let cwd = '/home/user';
      for (const { type, args } of steps) {
        if (type === 'ENV') for (let i = 0; i + 1 < args.length; i += 2) env[args[i]] = args[i + 1];
        if (type === 'WORKDIR') [cwd] = args;
        // Whoever works in a sandbox here is the one user that there is: USER changes nothing.
        if (type !== 'RUN') continue;
        const child = workshop.spawn('/bin/bash', ['-l', '-c', args[0]], { cwd, envs: env });
        for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => build.logs.push(String(bytes)));
        const code = await new Promise((resolve, reject) => { child.once('close', resolve).once('error', reject); });
        if (code) throw Object.assign(new Error(`process exited with ${code}: ${build.logs.join('')}`), { step: 'RUN' });
      }
      await this.gate;
      const folder = path.join(this.root, build.templateID);
      await workshop.still(() => fs.renameSync(workshop.root, folder));
      this.known = this.known.filter((it) => !it.names.includes(build.name));
      this.known.push({ templateID: build.templateID, names: [build.name], folder, env, startCmd });
      build.status = 'ready';
    } catch (error) {
      build.status = 'error';
      build.reason = { message: error.message, step: error.step };
    } finally {
      await workshop.kill();
    }
  }

  status({ templateID, buildID, status, logs, reason }, offset) {
    const logEntries = logs.slice(offset).map((message) => ({ timestamp: new Date().toISOString(), message, level: 'info' }));
    return { templateID, buildID, status, logs: [], logEntries, ...(reason ? { reason } : {}) };
  }
}
