import { build } from 'esbuild';

/**
 * One worker as a single ES module, bundled as wrangler bundles it for production (wrangler
 * 4.164.0, `src/deployment-bundle/bundle.ts`), so that what runs here is what is deployed.
 *
 * @param entry path of the entry module
 * @throws BuildFailure of esbuild, whose message has the errors with file and line
 */
export async function bundleWorker(entry: string): Promise<string> {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    platform: 'browser',
    external: ['cloudflare:*', 'node:*'],
    define: {
      'navigator.userAgent': '"Cloudflare-Workers"',
      'process.env.NODE_ENV': '"production"',
    },
    // workerd runs `using` as it stands; at es2024 esbuild would replace it by helpers.
    supported: { using: true },
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'silent',
  });
  const [file] = result.outputFiles;
  if (!file) throw new Error(`esbuild gave no output for ${entry}`);
  return file.text;
}
