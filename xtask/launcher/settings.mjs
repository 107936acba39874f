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

/** Lines that tell who may come in; secrets are told only as being set. */
export function describeAuthentication(settings) {
  const admin = `admin token: ${settings.DB_SYNC_ADMIN_TOKEN ? 'set' : 'not set'}`;
  const driver = (settings.DB_SYNC_AUTH_DRIVER || 'cognito').toLowerCase();
  switch (driver) {
    case 'cognito': {
      const clients = settings.COGNITO_CLIENT_IDS || settings.COGNITO_CLIENT_ID;
      return [`authentication: Cognito, issuer ${settings.COGNITO_ISSUER}, client ${clients}, keys ${settings.COGNITO_JWKS_URL}; ${admin}`];
    }
    case 'static': {
      const token = settings.DB_SYNC_AUTH_TOKEN ? 'DB_SYNC_AUTH_TOKEN' : 'DB_SYNC_AUTH_TOKEN, WHICH IS NOT SET: every request fails';
      return [`authentication: static token in ${token}; ${admin}`];
    }
    case 'none':
      return [
        `authentication: NONE, every request is user ${settings.DB_SYNC_STATIC_USER_ID || 'user'}; ${admin}`,
        `web pages let in: loopback, Logseq's apps${more(settings.DB_SYNC_ALLOW_ORIGINS)}; host names: loopback${more(settings.DB_SYNC_ALLOW_HOSTS)}`,
      ];
    default:
      return [`authentication: DB_SYNC_AUTH_DRIVER is ${JSON.stringify(driver)}, which is none of cognito, static, none: EVERY REQUEST FAILS`];
  }
}

/** Entries of a list, to be put behind others. */
function more(list) {
  return (list ?? '').split(',').map((entry) => entry.trim()).filter(Boolean).map((entry) => `, ${entry}`).join('');
}
