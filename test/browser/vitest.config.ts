import { defineConfig } from 'vitest/config';

/** Needs Debian's chromium; run by `npm run test:browser` and in CI. */
export default defineConfig({
  test: {
    include: ['test/browser/**/*.browser.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './test/support/count-reporter.ts'],
  },
});
