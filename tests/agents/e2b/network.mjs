// Rules for what a sandbox may talk to, as E2B reads them: an entry that allows goes before one that denies, and only addresses and
// networks can be denied. Nothing here is enforced: processes of sandboxes run on this machine.
import net from 'node:net';

const NAME = /^(\*\.([a-z0-9-]+\.)*|([a-z0-9-]+\.)+)[a-z][a-z0-9-]*$/i;

const isNetwork = (text) => {
  const [address, bits, ...others] = text.split('/');
  return net.isIP(address) && !others.length && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (net.isIPv4(address) ? 32 : 128)));
};

/** What is wrong with rules, if anything is. */
export function wrong(rules = {}) {
  for (const name of ['allowOut', 'denyOut']) {
    if (rules[name] !== undefined && !(Array.isArray(rules[name]) && rules[name].every((entry) => typeof entry === 'string'))) return `Error when parsing request: ${name}`;
  }
  const odd = (rules.allowOut ?? []).find((entry) => !isNetwork(entry) && !NAME.test(entry));
  if (odd !== undefined) return `invalid allowed entry ${odd}`;
  const denied = (rules.denyOut ?? []).find((entry) => !isNetwork(entry));
  if (denied !== undefined) return `deny rules take addresses and networks only, not ${denied}`;
  const names = (rules.allowOut ?? []).some((entry) => !isNetwork(entry));
  // Names mean nothing as long as everything is allowed.
  return names && !(rules.denyOut ?? []).includes('0.0.0.0/0') ? 'allowed domains need denyOut 0.0.0.0/0' : null;
}

const covers = (entry, host) => {
  if (isNetwork(entry)) {
    if (!net.isIPv4(host)) return false;
    const [address, bits = '32'] = entry.split('/');
    const list = new net.BlockList();
    list.addSubnet(address, Number(bits), 'ipv4');
    return list.check(host);
  }
  const name = entry.toLowerCase();
  return name.startsWith('*.') ? host.endsWith(name.slice(1)) : host === name;
};

/** Whether a sandbox with these rules may talk to a host. */
export function allows({ allowOut = [], denyOut = [], allow_internet_access: internet = true } = {}, host) {
  if (allowOut.some((entry) => covers(entry, host))) return true;
  return internet && !denyOut.some((entry) => entry === '0.0.0.0/0' || covers(entry, host));
}
