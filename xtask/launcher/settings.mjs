// The worker's settings for local use.
import net from 'node:net';

/** Names of settings, by the worker that has them. A developer's environment holds more than is meant for workers. */
const OWN = {
  sync: /^(COGNITO|DB_SYNC|SENTRY|AGENTS)_|^ASSET_LINK_SECRET$/,
  agents: /^(COGNITO|DB_SYNC|SENTRY|AGENT|E2B|SANDBOX_AGENT|LOCAL_RUNNER|GITHUB_APP|MANAGED_AUTH|TRANSCRIPT|PG_SYNC)_|^(PUBLIC_BASE_URL|RUNNER_MAILBOX|GITHUB_API_BASE|GITHUB_USER_AGENT|GITHUB_WEBHOOK_SECRET|OPENAI_OAUTH_CLIENT_ID|RUN_TOKEN_KEYS)$|^(OPENAI|ANTHROPIC)_(API_KEY|BASE_URL)$/,
};

/** Settings that the agents worker gives to every sandbox. */
const HANDED_OUT = ['OPENAI_API_KEY', 'OPENAI_BASE_URL', 'ANTHROPIC_API_KEY', 'ANTHROPIC_BASE_URL'];

/** Variables in which the operator's connections to shape services have their secrets; `PG_SYNC_CONNECTIONS` names them. */
function secretsOfConnections(env) {
  let connections;
  try { connections = JSON.parse(env.PG_SYNC_CONNECTIONS || '{}'); } catch { return []; /* the worker says what is wrong */ }
  return Object.values(connections ?? {}).map((connection) => connection?.secret_env).filter((name) => typeof name === 'string');
}

/** Whether only this machine reaches what is served there. */
export function isLoopback(host) {
  return host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));
}

/** A host as it stands in addresses. */
export function urlHost(host) {
  return net.isIPv6(host) ? `[${host}]` : host;
}

/**
 * Settings of a worker's configuration with those of the environment before them. The worker is not told who its peers
 * are, nor which other workers are started: whether all of them are on this machine is known here alone.
 */
export function settingsFrom(env, configured, host, worker = 'sync') {
  const settings = { ...configured };
  const secrets = worker === 'agents' ? secretsOfConnections(env) : [];
  for (const [name, value] of Object.entries(env)) {
    if (OWN[worker].test(name) || name in configured || secrets.includes(name)) settings[name] = value;
  }
  settings.DB_SYNC_LOCAL_PEERS = isLoopback(host) ? 'loopback' : 'any';
  // An agents worker on this machine may be started at the same time as this one; any other runs, or does not.
  const agents = agentsAddress(env)?.hostname.replace(/^\[|\]$/g, '');
  settings.DB_SYNC_LOCAL_AGENTS = agents && (agents === 'localhost' || isLoopback(agents)) ? 'starting' : 'none';
  return settings;
}

/** Where the agents worker is, if the environment says so: a plain address, as what is behind the binding is named by it. */
export function agentsAddress(env) {
  const text = env.AGENTS_SERVICE_URL;
  if (!text) return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== 'http:' || url.pathname !== '/' || url.search || url.hash || url.username) {
    throw new Error(`AGENTS_SERVICE_URL must be an address such as http://127.0.0.1:8788, not ${JSON.stringify(text)}`);
  }
  return url;
}

/** Lines that tell who may come in; secrets are told only as being set. */
export function describeAuthentication(settings) {
  const admin = `admin token: ${settings.DB_SYNC_ADMIN_TOKEN ? 'set' : 'not set'}`;
  switch (driverOf(settings)) {
    case 'cognito': {
      const clients = settings.COGNITO_CLIENT_IDS || settings.COGNITO_CLIENT_ID;
      return [`authentication: Cognito, issuer ${settings.COGNITO_ISSUER}, client ${clients}, keys ${settings.COGNITO_JWKS_URL}; ${admin}`];
    }
    case 'static':
      return [`authentication: static token in DB_SYNC_AUTH_TOKEN; ${admin}`];
    case 'none':
      return [
        `authentication: NONE, every request is user ${settings.DB_SYNC_STATIC_USER_ID || 'user'}; ${admin}`,
        `web pages let in: loopback, Logseq's apps${more(settings.DB_SYNC_ALLOW_ORIGINS)}; host names: loopback${more(settings.DB_SYNC_ALLOW_HOSTS)}`,
      ];
    default:
      // The worker does not start with another one.
      return [];
  }
}

/** Lines that tell which of the settings agents in sandboxes get to know, by name. */
export function describeHandedOut(settings) {
  const names = HANDED_OUT.filter((name) => settings[name]);
  return names.length ? [`given to every sandbox: ${names.join(', ')}`] : [];
}

/** Lines that warn what is open to whom when others than this machine reach the server. */
export function describeExposure(settings, host, port, addresses) {
  const everywhere = host === '0.0.0.0' || host === '::';
  const reached = everywhere ? addresses.filter((address) => host === '::' || net.isIPv4(address)) : [host];
  const lines = [
    `WARNING: every device that reaches this machine reaches the server, at ${reached.map((address) => `http://${urlHost(address)}:${port}`).join(', ') || 'all of its addresses'}`,
    'what is sent is not encrypted: whoever is in between reads tokens and notes, and may change them',
  ];
  switch (driverOf(settings)) {
    case 'static':
      lines.push('graphs and assets are open to everyone who has the token, and the token can be read on its way');
      break;
    case 'none':
      lines.push('graphs and assets are open to EVERY PROGRAM on every such device, to read, change and delete: no token is asked for');
      lines.push(`programs may name any host; browsers and apps are answered under loopback names${more(settings.DB_SYNC_ALLOW_HOSTS)} alone: list ${reached.map(urlHost).join(', ') || 'the address'} in DB_SYNC_ALLOW_HOSTS for them`);
      break;
    case 'cognito':
      lines.push('graphs and assets are open to their members, and /health to everyone; everyone who signs in may make graphs here');
      break;
    default:
  }
  if (settings.DB_SYNC_ADMIN_TOKEN) lines.push('everything is open to whoever has the admin token');
  if (settings.DB_SYNC_TRUSTED_PROXIES) lines.push('DB_SYNC_TRUSTED_PROXIES is ignored: the server cannot tell a proxy on this machine from another device');
  return lines;
}

function driverOf(settings) {
  return (settings.DB_SYNC_AUTH_DRIVER || 'cognito').toLowerCase();
}

/** Entries of a list, to be put behind others. */
function more(list) {
  return (list ?? '').split(',').map((entry) => entry.trim()).filter(Boolean).map((entry) => `, ${entry}`).join('');
}
