// The worker's settings for local use.

const OWN = /^(COGNITO|DB_SYNC|SENTRY|AGENTS)_|^ASSET_LINK_SECRET$/;

/** Settings of wrangler.toml with those of the environment before them. */
export function settingsFrom(env, configured) {
  const settings = { ...configured };
  for (const [name, value] of Object.entries(env)) {
    if (OWN.test(name) || name in configured) settings[name] = value;
  }
  return settings;
}

/** One line that tells how clients are authenticated; secrets are told only as being set. */
export function describeAuthentication(settings) {
  const driver = (settings.DB_SYNC_AUTH_DRIVER ?? 'cognito').toLowerCase();
  const admin = `admin token: ${settings.DB_SYNC_ADMIN_TOKEN ? 'set' : 'not set'}`;
  if (driver === 'none') return `authentication: NONE, every request is user ${settings.DB_SYNC_STATIC_USER_ID ?? 'user'}; ${admin}`;
  if (driver === 'static') {
    const token = settings.DB_SYNC_AUTH_TOKEN ? 'DB_SYNC_AUTH_TOKEN' : 'DB_SYNC_AUTH_TOKEN, WHICH IS NOT SET';
    return `authentication: static token in ${token}; ${admin}`;
  }
  const clients = settings.COGNITO_CLIENT_IDS || settings.COGNITO_CLIENT_ID;
  return `authentication: Cognito, issuer ${settings.COGNITO_ISSUER}, client ${clients}, keys ${settings.COGNITO_JWKS_URL}; ${admin}`;
}
