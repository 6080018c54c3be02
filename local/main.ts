import { Command, InvalidArgumentError, Option } from 'commander';
import { addControllerFlags, type ControllerFlags, compileOptions } from './controller-options.ts';
import type { DevFlags } from './dev.ts';

// Each command loads what it needs: `sync` runs in an image without Miniflare, and `check` should
// not wait for it.
const program = new Command('causeway')
  .description('A Kubernetes ingress controller whose data plane is a Cloudflare Worker')
  .showHelpAfterError('(run causeway --help for the commands)');

addControllerFlags(
  program
    .command('dev')
    .description('run the whole gateway on this machine, on manifests or on a cluster')
    .argument('[path...]', 'manifest files and folders')
    .addOption(new Option('--kubeconfig <file>', 'watch this cluster instead of files'))
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--http-port <port>', 'port for HTTP; 0 for a free one', port, 8787)
    .option('--https-port <port>', 'port for HTTPS; 0 for a free one', port, 8443)
    .option(
      '--persist <dir>',
      'where KV, D1, the keys and the default certificate are kept',
      '.causeway',
    )
    .option('--node-address <address>', 'address of the node that files imply', '127.0.0.1')
    .option('--echo', 'answer on every node port that the files name'),
).action(async (paths: string[], flags: DevFlags) => {
  if (paths.length === 0 && flags.kubeconfig === undefined) {
    throw new Error('give manifest files or folders, or --kubeconfig FILE');
  }
  const { dev } = await import('./dev.ts');
  await dev(paths, flags);
});

program
  .command('sync')
  .description('the in-cluster syncer; reads its settings from the environment')
  .action(async () => {
    const { sync } = await import('../syncer/main.ts');
    await sync(process.env);
  });

addControllerFlags(
  program
    .command('check')
    .description('compile manifests and print their routes and problems; exits with 1 on errors')
    .argument('<path...>', 'manifest files and folders')
    .option('--node-address <address>', 'address of the node that files imply', '127.0.0.1')
    .addOption(new Option('--output <format>').choices(['text', 'json']).default('text')),
).action(async (paths: string[], flags: FileFlags & { readonly output: string }) => {
  const { reportJson, reportText, severityOf } = await import('./report.ts');
  const compilation = await compileFiles(paths, flags);
  const text =
    flags.output === 'json'
      ? `${JSON.stringify(reportJson(compilation), null, 2)}\n`
      : reportText(compilation);
  process.stdout.write(text);
  if (compilation.problems.some((it) => severityOf(it) === 'error')) process.exitCode = 1;
});

addControllerFlags(
  program
    .command('explain')
    .description('which route serves a URL, and why not the others')
    .argument('<url>')
    .requiredOption('-f, --file <path...>', 'manifest files and folders')
    .option('--node-address <address>', 'address of the node that files imply', '127.0.0.1')
    .addOption(new Option('--output <format>').choices(['text', 'json']).default('text')),
).action(async (url: string, flags: FileFlags & { file: string[]; output: string }) => {
  const { explain } = await import('./explain.ts');
  const { explanationText } = await import('./report.ts');
  const explanation = explain(url, await compileFiles(flags.file, flags));
  const json = () => `${JSON.stringify(explanation, null, 2)}\n`;
  process.stdout.write(flags.output === 'json' ? json() : explanationText(explanation));
});

program
  .command('keygen')
  .description('make the key pair that signs and verifies manifests')
  .action(async () => {
    const { generateKeyPair } = await import('../snapshot/signature.ts');
    const { privateKey, publicKey } = await generateKeyPair();
    console.log(`CAUSEWAY_SIGNING_KEY=${privateKey}\nMANIFEST_PUBLIC_KEY=${publicKey}`);
  });

interface FileFlags extends ControllerFlags {
  readonly nodeAddress: string;
}

async function compileFiles(paths: readonly string[], flags: FileFlags) {
  const { FileSource } = await import('../syncer/files/file-source.ts');
  const { compileAt } = await import('../syncer/compile/validity.ts');
  const source = new FileSource({ paths, nodeAddress: flags.nodeAddress });
  return compileAt(source.read(), compileOptions(flags), Date.now());
}

function port(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 65_535) return value;
  throw new InvalidArgumentError('not a port number');
}

try {
  await program.parseAsync();
} catch (error) {
  // One clear line; whoever needs the stack sets NODE_DEBUG.
  const text = error instanceof Error ? error.message : String(error);
  console.error(`causeway: ${text}`);
  if (process.env.NODE_DEBUG?.includes('causeway')) console.error(error);
  process.exitCode = 1;
}
