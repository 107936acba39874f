// Ends workerd when the launcher has ended without doing so itself: killed, or crashed.
//   node guard.mjs PID
// The launcher holds the other end of standard input. A byte on it says that all went well; its end without one, that
// nobody is left to end workerd. Descriptor 3 is the lock on the data: it is free only when workerd has gone.
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const workerd = Number(process.argv[2]);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});

/** Whether the process is there still. One that has ended and that nobody has asked about yet is not. */
function isThere() {
  try {
    process.kill(workerd, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${workerd}/status`, 'utf8'));
  } catch {
    // Gone meanwhile, or a system that does not tell.
    return process.platform !== 'linux';
  }
}

const allWentWell = await new Promise((resolve) => {
  process.stdin.once('data', () => resolve(true)).once('end', () => resolve(false)).once('error', () => resolve(false));
});
if (!allWentWell && isThere()) {
  process.kill(workerd, 'SIGKILL');
  while (isThere()) await sleep(10);
}
process.exit(0);
