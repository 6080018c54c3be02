import { type FSWatcher, statSync, watch } from 'node:fs';
import type { Problem } from '../../snapshot/types.ts';
import { type ClusterState, clusterState } from '../cluster-state.ts';
import { decodeObject } from '../kubernetes/decode.ts';
import { keyOf, sameEntry } from '../kubernetes/entry.ts';
import { describeRef, type KubernetesObject, refOf } from '../kubernetes/objects.ts';
import type { StateSource } from '../source.ts';
import { withImplied } from './implied.ts';
import { findManifests, ManifestError, readManifest } from './manifests.ts';

export interface FileSourceOptions {
  readonly paths: readonly string[];
  /** Address of the implied node; null to read the files as a cluster would be read. */
  readonly nodeAddress: string | null;
}

/** The newest content of a file that could be used, and what is wrong with it now. */
interface FileContent {
  readonly stamp: string;
  readonly entries: readonly Entry[];
  readonly problems: readonly Problem[];
}

/** One object of a file, and what it is to the compiler (hand-written Endpoints are several). */
interface Entry {
  readonly key: string;
  readonly objects: readonly KubernetesObject[];
}

/**
 * Manifests on disk as a source of {@link ClusterState}. What cannot be read keeps its last good
 * form, as an API server keeps an object whose update it refuses.
 */
export class FileSource implements StateSource {
  readonly #options: FileSourceOptions;
  readonly #contents = new Map<string, FileContent>();
  readonly #watchers = new Map<string, FSWatcher>();
  #onChange: () => void = () => {};
  #rescanning: NodeJS.Timeout | null = null;
  /** What stands in the way of reading the paths now. */
  #unreadable: Problem | null = null;
  #synced = false;

  constructor(options: FileSourceOptions) {
    this.#options = options;
  }

  get synced(): boolean {
    return this.#synced;
  }

  /** @throws ManifestError when a path is missing or a file is not YAML: nothing good to keep yet. */
  read(): ClusterState {
    this.#scan((error) => {
      throw error;
    });
    this.#synced = true;
    return this.state();
  }

  async start(onChange: () => void): Promise<void> {
    this.read();
    this.#onChange = onChange;
    this.#watch();
    // What changed before the watches were there.
    this.#scan(() => {});
    onChange();
  }

  async stop(): Promise<void> {
    if (this.#rescanning) clearTimeout(this.#rescanning);
    this.#rescanning = null;
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  state(): ClusterState {
    const unique = new Map<string, KubernetesObject>();
    const problems: Problem[] = this.#unreadable ? [this.#unreadable] : [];
    for (const [file, content] of this.#contents) {
      problems.push(...content.problems);
      for (const object of content.entries.flatMap((entry) => entry.objects)) {
        const key = describeRef(refOf(object));
        const first = unique.get(key);
        if (!first) unique.set(key, object);
        // Most ConfigMaps are strangers, and those of overlays share a name on purpose.
        else if (object.kind !== 'ConfigMap' && !isSame(first, object)) {
          problems.push(duplicate(object, file));
        }
      }
    }
    const objects = [...unique.values()];
    const { nodeAddress } = this.#options;
    return clusterState(
      nodeAddress === null ? objects : withImplied(objects, nodeAddress),
      problems,
    );
  }

  #scan(onBroken: (error: ManifestError, file: string) => void): void {
    const { files } = findManifests(this.#options.paths);
    for (const known of this.#contents.keys()) {
      if (!files.includes(known)) this.#contents.delete(known);
    }
    for (const file of files) {
      const before = this.#contents.get(file);
      const stamp = stampOf(file);
      // Deleted since the folder was listed: it will be told of.
      if (stamp === null || before?.stamp === stamp) continue;
      try {
        this.#contents.set(file, decodeFile(file, stamp, before));
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error;
        onBroken(error, file);
        const entries = before?.entries ?? [];
        this.#contents.set(file, { stamp, entries, problems: [brokenFile(file, error, entries)] });
      }
    }
    // Files are read in the order of their names, whenever they came.
    const sorted = files.flatMap((file): [string, FileContent][] => {
      const content = this.#contents.get(file);
      return content ? [[file, content]] : [];
    });
    this.#contents.clear();
    for (const [file, content] of sorted) this.#contents.set(file, content);
  }

  #watch(): void {
    const { files, folders } = findManifests(this.#options.paths);
    // A file is watched by its name too: an editor that replaces it makes the folder speak, one
    // that writes in place, or a link's target elsewhere, the file.
    const wanted = new Set([...folders, ...files]);
    for (const [path, watcher] of this.#watchers) {
      if (wanted.has(path)) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
    for (const path of wanted) {
      if (this.#watchers.has(path)) continue;
      const watcher = watch(path, (event) => this.#changed(path, event));
      watcher.on('error', () => this.#changed(path, 'rename'));
      this.#watchers.set(path, watcher);
    }
  }

  /** One save is several events; a moment later the file is whole. */
  #changed(path: string, event: string): void {
    if (event === 'rename') {
      // After a rename the watcher follows the old inode.
      this.#watchers.get(path)?.close();
      this.#watchers.delete(path);
    }
    this.#rescanning ??= setTimeout(() => this.#rescan(), SETTLE_MS);
  }

  #rescan(): void {
    this.#rescanning = null;
    const before = this.#unreadable;
    try {
      // Watched first: what changes while the files are read is heard of.
      this.#watch();
      this.#scan(() => {});
      this.#unreadable = null;
    } catch (error) {
      // A path is gone or changes under our hands. What it held serves on until it can be read.
      this.#unreadable = unreadable(error);
      this.#rescanning = setTimeout(() => this.#rescan(), RETRY_MS);
      if (before?.message === this.#unreadable.message) return;
    }
    this.#onChange();
  }
}

const SETTLE_MS = 40;
const RETRY_MS = 500;

/** Changes with the content of a file; null when there is no such file any more. */
function stampOf(file: string): string | null {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats ? `${stats.mtimeMs} ${stats.size} ${stats.ino}` : null;
}

function decodeFile(file: string, stamp: string, before: FileContent | undefined): FileContent {
  const problems: Problem[] = [];
  const entries = readManifest(file).map((raw): Entry => {
    const key = `${(raw as { kind?: unknown }).kind} ${keyOf(raw)}`;
    const decoded = decodeObject(raw);
    if (decoded.ok) return { key, objects: decoded.objects };
    const { problem } = decoded;
    const lastGood = before?.entries.find((entry) => entry.key === key)?.objects ?? [];
    const suffix = lastGood.length > 0 ? 'its last good form serves on' : 'it is not served';
    problems.push({ ...problem, message: `${file}: ${problem.message}; ${suffix}` });
    return { key, objects: lastGood };
  });
  return { stamp, entries, problems };
}

function isSame(a: KubernetesObject, b: KubernetesObject): boolean {
  return sameEntry({ ok: true, objects: [a] }, { ok: true, objects: [b] });
}

function brokenFile(file: string, { message }: ManifestError, kept: readonly Entry[]): Problem {
  const what = kept.length > 0 ? 'the last good content' : 'nothing';
  const rest = `${what} of the file ${kept.length > 0 ? 'serves on' : 'is served'}`;
  return fileProblem(file, `${message}; ${rest}`);
}

/** @throws what is no error of the file system. */
function unreadable(error: unknown): Problem {
  const isOfFiles = error instanceof ManifestError || Object.hasOwn(Object(error), 'code');
  if (!isOfFiles) throw error;
  const { message } = error as Error;
  const [path = ''] = message.split(': ');
  return fileProblem(path, `${message}; what was read before serves on`);
}

function fileProblem(name: string, message: string): Problem {
  return { object: { kind: 'File', namespace: '', name }, reason: 'InvalidObject', message };
}

function duplicate(object: KubernetesObject, file: string): Problem {
  const message = `is defined again, and differently, in ${file}; the first definition is used`;
  return { object: refOf(object), reason: 'DuplicateObject', message };
}
