import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

/** One line of a Dockerfile, such as `COPY` with `--from=dependencies /app/x x/`. */
export interface Instruction {
  readonly name: string;
  readonly text: string;
}

/** A stage after its instructions: a folder for its file system, and what a container starts with. */
export interface Stage {
  readonly root: string;
  readonly base: string;
  workdir: string;
  user: string;
  readonly env: Record<string, string>;
  entrypoint: readonly string[];
  command: readonly string[];
}

export function parse(text: string): Instruction[] {
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', ...rest] = line.trim().split(/\s+/);
      return { name, text: rest.join(' ') };
    });
}

/** What `COPY` sees of a folder: an ignore file that begins with `*` and lists exceptions. */
export function contextOf(ignoreFile: string): ReadonlySet<string> {
  const lines = readFileSync(ignoreFile, 'utf8').split('\n');
  const patterns = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const [first, ...exceptions] = patterns;
  if (first !== '*' || exceptions.some((it) => !/^![\w.-]+$/.test(it))) {
    throw new Error(`${ignoreFile}: only "*" and then names with "!" are understood here`);
  }
  return new Set(exceptions.map((it) => it.slice(1)));
}

export interface BuildOptions {
  readonly dockerfile: string;
  readonly context: string;
  readonly into: string;
  /** Runs what follows `RUN`. */
  readonly run: (command: string, directory: string) => void;
}

/**
 * Takes the steps of a Dockerfile on this machine, with folders for the file systems of its stages.
 * Of the base images there is nothing, and paths are as this Dockerfile has them: enough to see whether
 * what is copied is all there and all that is needed. Throws at an instruction that it does not know.
 */
export function build({ dockerfile, context, into, run }: BuildOptions): Stage {
  const visible = contextOf(join(context, '.dockerignore'));
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  for (const { name, text } of parse(readFileSync(dockerfile, 'utf8'))) {
    if (name === 'FROM') {
      const [base = '', , alias = 'last'] = text.split(' ');
      stage = newStage(join(into, alias), base);
      stages.set(alias, stage);
      continue;
    }
    if (!stage) throw new Error(`${name} before FROM`);
    const directory = join(stage.root, stage.workdir);
    if (name === 'WORKDIR') stage.workdir = text;
    else if (name === 'USER') stage.user = text;
    else if (name === 'ENV') Object.assign(stage.env, Object.fromEntries([text.split('=')]));
    else if (name === 'ENTRYPOINT') stage.entrypoint = JSON.parse(text);
    else if (name === 'CMD') stage.command = JSON.parse(text);
    else if (name === 'RUN') run(text, directory);
    else if (name === 'COPY') copy(text, { stage, stages, context, visible });
    else if (name !== 'EXPOSE') throw new Error(`${name} is not understood here`);
    mkdirSync(join(stage.root, stage.workdir), { recursive: true });
  }
  if (!stage) throw new Error('no FROM');
  return stage;
}

function newStage(root: string, base: string): Stage {
  return { root, base, workdir: '/', user: '', env: {}, entrypoint: [], command: [] };
}

interface CopyContext {
  readonly stage: Stage;
  readonly stages: ReadonlyMap<string, Stage>;
  readonly context: string;
  readonly visible: ReadonlySet<string>;
}

function copy(text: string, { stage, stages, context, visible }: CopyContext): void {
  const words = text.split(' ');
  const from = /^--from=(.*)$/.exec(words[0] ?? '')?.[1];
  const paths = from === undefined ? words : words.slice(1);
  const target = posix.resolve(stage.workdir, paths.at(-1) ?? '');
  for (const path of paths.slice(0, -1)) {
    if (from === undefined && !visible.has(path)) throw new Error(`.dockerignore hides ${path}`);
    const source = join(from === undefined ? context : (stages.get(from)?.root ?? ''), path);
    if (!existsSync(source)) throw new Error(`COPY ${path}: there is no such file`);
    // A folder's content is copied, a file under its name.
    const isFile = /\.json$/.test(path);
    const destination = join(stage.root, target, isFile ? posix.basename(path) : '');
    mkdirSync(dirname(destination), { recursive: true });
    cpSync(source, destination, { recursive: true });
  }
}
