import { defineConfig } from 'vitest/config';

/** Run as root inside an edge: `node test/cluster/in-edge.ts vitest run --config test/cluster/vitest.config.ts` */
export default defineConfig({
  test: {
    include: ['test/cluster/*.cluster.ts'],
    // Each file has a cluster of its own, at the same addresses: one at a time.
    fileParallelism: false,
    // Children die with the thread that started them, so that must be a process's main thread.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 90_000,
    reporters: ['default', './test/support/count-reporter.ts'],
  },
});
