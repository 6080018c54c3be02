import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'sqlite',
  schema: './snapshot/tables.ts',
  out: './migrations',
});
