// The stand-in as a process of its own: `node tests/pg-sync/shape-lite/main.mjs DATABASE_URL [PORT]`. It prints the address of its shapes and ends with its input. With
// `ELECTRIC_SECRET` it asks for that, as the real service does.
import { startShapeLite } from './service.mjs';

const [databaseUrl, port = '0'] = process.argv.slice(2);
if (!databaseUrl) {
  console.error('usage: node main.mjs DATABASE_URL [PORT]');
  process.exit(2);
}
const service = await startShapeLite(databaseUrl, { port: Number(port), secret: process.env.ELECTRIC_SECRET });
console.log(service.url);
console.error('this is a stand-in for tests, not Electric');
process.stdin.resume().once('end', async () => {
  await service.close();
  process.exit(0);
});
