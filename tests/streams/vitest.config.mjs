import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['conformance.test.mjs'],
    // Two tests wait for a whole long poll, and one compares 100,000 bytes by an assertion each.
    testTimeout: 120_000,
    // Tests make streams with names of the time; nothing is isolated from anything.
    fileParallelism: false,
  },
});
