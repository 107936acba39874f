// The image of sandboxes in which sessions run: what E2B's image `base` and the network give there, as far as sessions need it.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { here, sandboxAgentBin } from '../processes.mjs';

/** The port of the agent server in every sandbox. */
export const AGENT_PORT = 2468;

const executable = (file, text) => fs.writeFileSync(file, text, { mode: 0o755 });

/** Installs the agent server, as the script does that its makers publish: here it is a link to the real one. Ports of sandboxes are ports of this machine. */
const installer = () => `set -e
cat > "$HOME/.local/bin/sandbox-agent" <<'END'
#!/bin/bash
words=()
while [ $# -gt 0 ]; do
  case $1 in
    --port) name=LOCAL_PORT_$2; words+=(--port "\${!name}"); shift 2 ;;
    --host) words+=(--host 127.0.0.1); shift 2 ;;
    *) words+=("$1"); shift ;;
  esac
done
export SANDBOX_AGENT_REQUIRE_PREINSTALL=1 XDG_DATA_HOME="$HOME/.local/share" AGENT_LOG="$HOME/prompts.jsonl"
exec '${sandboxAgentBin()}' "\${words[@]}"
END
chmod 755 "$HOME/.local/bin/sandbox-agent"
echo installed >> "$HOME/installed"
`;

/** curl, which here finds the agent server's installer and what listens in the same sandbox. */
const curl = () => `#!/bin/sh
for word; do
  case $word in https://releases.rivet.dev/sandbox-agent/*/install.sh) exec cat "$HOME/.local/share/install.sh" ;; esac
done
exec '${execFileSync('sh', ['-c', 'command -v curl'], { encoding: 'utf8' }).trim()}' --connect-to "localhost:${AGENT_PORT}:127.0.0.1:$LOCAL_PORT_${AGENT_PORT}" "$@"
`;

/** Where the agent server of a sandbox notes the session of its processes: their numbers are others in a copy of it. */
export function renumber(sandbox) {
  const note = sandbox.path('/tmp/sandbox-agent.sid');
  const old = fs.existsSync(note) ? Number(fs.readFileSync(note, 'utf8')) : null;
  if (sandbox.revived.has(old)) fs.writeFileSync(note, `${sandbox.revived.get(old)}\n`);
}

/**
 * Makes the image in a folder. The coding agents are tests/agents/agent.mjs; the agent server is not there yet. With `github`
 * (the stand-in), git finds `https://github.com` there: by its real address where the stand-in has one, else under another one, to which it
 * shows what the credentials file has for GitHub.
 */
export function sessionImage(folder, { github } = {}) {
  const home = path.join(folder, 'home/user');
  const bin = path.join(home, '.local/bin');
  fs.mkdirSync(bin, { recursive: true });
  fs.mkdirSync(path.join(home, '.local/share'));
  fs.writeFileSync(path.join(home, '.profile'), 'PATH="$HOME/.local/bin:$PATH"\n');
  fs.writeFileSync(path.join(home, '.local/share/install.sh'), installer());
  executable(path.join(bin, 'curl'), curl());
  for (const name of ['claude', 'codex']) executable(path.join(bin, name), '#!/bin/sh\nexit 0\n');
  for (const name of ['claude-agent-acp', 'codex-acp']) {
    executable(path.join(bin, name), `#!/bin/sh\nexec '${process.execPath}' '${path.join(here, 'agent.mjs')}' "$@"\n`);
  }
  if (github?.tls) {
    fs.writeFileSync(path.join(home, '.gitconfig'), `[http]\n\tproxy = ${github.tls.proxy}\n\tsslCAInfo = ${github.tls.certificate}\n`);
  } else if (github) {
    const helper = '!f() { if [ \\"$1\\" = get ]; then printf \'protocol=https\\\\nhost=github.com\\\\n\\\\n\' | git credential-store get | grep -E \'^(username|password)=\'; fi; }; f';
    fs.writeFileSync(path.join(home, '.gitconfig'), `[url "${github.url}/"]\n\tinsteadOf = https://github.com/\n[credential "${github.url}"]\n\thelper = "${helper}"\n`);
  }
  return folder;
}
