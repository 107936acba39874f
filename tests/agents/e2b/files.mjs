// Files of a sandbox: uploads and downloads over HTTP, and the service `filesystem.Filesystem` of envd.
import fs from 'node:fs';
import path from 'node:path';
import { ConnectError } from './connect.mjs';

const missing = (name) => new ConnectError('not_found', `path '${name}' does not exist`);

function entry(sandbox, file) {
  const stat = fs.lstatSync(file);
  return {
    name: path.basename(file), path: sandbox.shown(file), type: stat.isDirectory() ? 'FILE_TYPE_DIRECTORY' : 'FILE_TYPE_FILE',
    size: String(stat.size), mode: stat.mode & 0o777, permissions: '', owner: 'user', group: 'user', modifiedTime: stat.mtime.toISOString(),
  };
}

/** A path that must be there. */
function existing(sandbox, name) {
  const file = sandbox.path(name ?? '');
  if (!fs.existsSync(file)) throw missing(name);
  return file;
}

/** Methods of the service; watching is not one of them. */
export const unary = {
  Stat: (sandbox, { path: name }) => ({ entry: entry(sandbox, existing(sandbox, name)) }),
  ListDir(sandbox, { path: name, depth = 1 }) {
    const list = (folder, left) => fs.readdirSync(folder, { withFileTypes: true }).flatMap((it) => {
      const file = path.join(folder, it.name);
      return [entry(sandbox, file), ...(it.isDirectory() && left > 1 ? list(file, left - 1) : [])];
    });
    return { entries: list(existing(sandbox, name), depth) };
  },
  MakeDir(sandbox, { path: name }) {
    const folder = sandbox.path(name);
    if (fs.existsSync(folder)) throw new ConnectError('already_exists', `directory already exists: ${name}`);
    fs.mkdirSync(folder, { recursive: true });
    return { entry: entry(sandbox, folder) };
  },
  Move(sandbox, { source, destination }) {
    const to = sandbox.path(destination);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.renameSync(existing(sandbox, source), to);
    return { entry: entry(sandbox, to) };
  },
  Remove(sandbox, { path: name }) {
    fs.rmSync(sandbox.path(name), { recursive: true, force: true });
    return {};
  },
};

/** The content of a file. */
export function download(sandbox, name) {
  const file = existing(sandbox, name);
  if (fs.statSync(file).isDirectory()) throw new ConnectError('invalid_argument', `path '${name}' is a directory`);
  return fs.readFileSync(file);
}

/** Stores what was sent: a form with parts `file`, or the content as it is. */
export async function upload(sandbox, name, type, bytes) {
  const written = [];
  const write = (given, content) => {
    const file = sandbox.path(given);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
    written.push({ path: sandbox.shown(file), name: path.basename(file), type: 'file' });
  };
  if (type.startsWith('application/octet-stream')) {
    if (!name) throw new ConnectError('invalid_argument', 'path query parameter is required for raw body upload');
    write(name, bytes);
  } else if (type.startsWith('multipart/')) {
    const form = await new Response(bytes, { headers: { 'content-type': type } }).formData();
    for (const part of form.getAll('file')) write(name || part.name, Buffer.from(await part.arrayBuffer()));
  } else {
    throw new ConnectError('invalid_argument', `unsupported content type: ${type}, expected multipart/form-data or application/octet-stream`);
  }
  return written;
}
