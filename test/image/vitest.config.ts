import { defineConfig } from 'vitest/config';

/** Apart from `npm test`, since it installs packages: `npm run test:image`. */
export default defineConfig({
  test: {
    include: ['test/image/*.image.ts'],
    testTimeout: 60_000,
    hookTimeout: 300_000,
    reporters: ['default', './test/support/count-reporter.ts'],
  },
});
