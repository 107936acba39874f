// Starting servers and reading their processor time and memory from /proc (Linux).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';

const TICKS_PER_SECOND = 100;

export const freePort = () => new Promise((resolve, reject) => {
  const s = net.createServer().once('error', reject).listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

/** A child process and all that it starts; `stop` ends them and waits. */
export class Server {
  constructor(command, args, env = {}) {
    this.child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'], detached: true });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
  }

  async healthy(base) {
    for (let i = 0; i < 1200; i++) {
      if (this.child.exitCode !== null) throw new Error(`server ended with ${this.child.exitCode}`);
      try { if ((await fetch(`${base}/health`)).ok) return; } catch { /* not yet */ }
      await new Promise((r) => setTimeout(r, 50));
    }
    throw new Error(`${base} did not become healthy`);
  }

  async stop() {
    try { process.kill(-this.child.pid, 'SIGTERM'); } catch { /* gone */ }
    await this.ended;
  }

  /** The workerd processes below this one. */
  workerd() {
    const all = new Map();
    for (const d of fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
      try {
        const text = fs.readFileSync(`/proc/${d}/stat`, 'utf8'); const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
        all.set(Number(d), { pid: Number(d), name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')), parent: Number(rest[1]), ticks: Number(rest[11]) + Number(rest[12]) });
      } catch { /* it ended meanwhile */ }
    }
    const below = (p) => { for (let n = p; n; n = all.get(n.parent)) if (n.pid === this.child.pid) return true; return false; };
    return [...all.values()].filter((p) => p.name.startsWith('workerd') && below(p));
  }

  /** Processor seconds used so far. */
  cpu() { return this.workerd().reduce((n, p) => n + p.ticks, 0) / TICKS_PER_SECOND; }

  status(key) {
    return this.workerd().reduce((n, p) => n + Number(new RegExp(`${key}:\\s+(\\d+)`).exec(fs.readFileSync(`/proc/${p.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024, 0);
  }

  /** Resident size and its peak since `resetPeak`, in MiB. */
  resident() { return this.status('VmRSS'); }
  peak() { return this.status('VmHWM'); }
  resetPeak() { for (const p of this.workerd()) { try { fs.writeFileSync(`/proc/${p.pid}/clear_refs`, '5'); } catch { /* peak since start then */ } } }
}

export const median = (xs) => xs.slice().sort((a, b) => a - b)[Math.floor(xs.length / 2)];
