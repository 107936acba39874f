// A PostgreSQL of its own, with logical decoding, in a temporary folder: made, used and thrown away by one test file.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import pg from 'pg';

/** Where the programs of the newest installed version are, or undefined. `PG_BIN` names another place. */
export function binaries() {
  if (process.env.PG_BIN) return process.env.PG_BIN;
  const debian = '/usr/lib/postgresql';
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).map(Number).filter(Boolean).sort((a, b) => b - a) : [];
  const folders = [...versions.map((version) => `${debian}/${version}/bin`), ...process.env.PATH.split(':')];
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => fs.existsSync(path.join(folder, name))));
}

/** PostgreSQL does not run as root: there its own user does. */
function user() {
  if (process.getuid() !== 0) return {};
  const number = (flag) => Number(spawnSync('id', [flag, 'postgres']).stdout.toString());
  return { uid: number('-u'), gid: number('-g') };
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Starts one, with these settings in place of its own; null: as PostgreSQL has it. `url` is for a superuser; `restart` starts it again over the same files, `stop` ends it and removes them. */
export async function startPostgres(more = {}) {
  const bin = binaries();
  if (!bin) throw new Error('PostgreSQL is not installed: apt-get install postgresql');
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pg-sync-'));
  const owner = user();
  if (owner.uid !== undefined) fs.chownSync(folder, owner.uid, owner.gid);
  const data = path.join(folder, 'data');
  const made = spawnSync(path.join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync', '--locale=C'], { ...owner, cwd: folder });
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const port = await freePort();
  const settings = {
    wal_level: 'logical', fsync: 'off', listen_addresses: '127.0.0.1', port, unix_socket_directories: '', max_replication_slots: 10,
    max_connections: 50, shared_buffers: '16MB', ...more,
  };
  const options = Object.entries(settings).filter(([, value]) => value !== null).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let child;
  let gone;
  const start = async () => {
    child = spawn(path.join(bin, 'postgres'), ['-D', data, ...options], { ...owner, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk) => { said = (said + chunk).slice(-8_000); });
    gone = new Promise((done) => child.once('exit', done));
    for (let attempt = 0; ; attempt += 1) {
      const client = new pg.Client({ connectionString: url });
      try {
        await client.connect();
        return await client.end();
      } catch (error) {
        if (child.exitCode !== null || attempt === 300) throw new Error(`PostgreSQL did not start: ${error.message}\n${said}`);
        await new Promise((done) => setTimeout(done, 100));
      }
    }
  };
  // Connections are ended at once.
  const end = async () => {
    child.kill('SIGINT');
    await gone;
  };
  const atExit = () => { if (child.exitCode === null) child.kill('SIGKILL'); };
  process.once('exit', atExit);
  await start();
  return {
    url,
    async restart() {
      await end();
      await start();
    },
    async stop() {
      process.off('exit', atExit);
      await end();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}
