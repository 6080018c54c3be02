import { type FSWatcher, statSync, watch } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Problem } from '../../snapshot/types.ts';
import { type ClusterState, clusterState } from '../cluster-state.ts';
import { decodeObject } from '../kubernetes/decode.ts';
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
  readonly objects: readonly KubernetesObject[];
  readonly problems: readonly Problem[];
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
  #rescan: NodeJS.Timeout | null = null;
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
    this.#watchFolders();
    onChange();
  }

  async stop(): Promise<void> {
    if (this.#rescan) clearTimeout(this.#rescan);
    this.#rescan = null;
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  state(): ClusterState {
    const unique = new Map<string, KubernetesObject>();
    const problems: Problem[] = [];
    for (const [file, content] of this.#contents) {
      problems.push(...content.problems);
      for (const object of content.objects) {
        const key = describeRef(refOf(object));
        const first = unique.get(key);
        if (!first) unique.set(key, object);
        else if (!isDeepStrictEqual(first, object)) problems.push(duplicate(object, file));
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
      if (before?.stamp === stamp) continue;
      try {
        this.#contents.set(file, decodeFile(file, stamp, before));
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error;
        onBroken(error, file);
        const problems = [brokenFile(file, error)];
        this.#contents.set(file, { stamp, objects: before?.objects ?? [], problems });
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

  #watchFolders(): void {
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
      const watcher = watch(path, (event) => this.#scheduleRescan(path, event));
      watcher.on('error', () => this.#scheduleRescan(path, 'rename'));
      this.#watchers.set(path, watcher);
    }
  }

  /** One save is several events; a moment later the file is whole. */
  #scheduleRescan(path: string, event: string): void {
    if (event === 'rename') {
      // After a rename the watcher follows the old inode.
      this.#watchers.get(path)?.close();
      this.#watchers.delete(path);
    }
    this.#rescan ??= setTimeout(() => {
      this.#rescan = null;
      try {
        this.#scan(() => {});
        this.#watchFolders();
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error;
        // A whole path is gone for the moment: what it held serves on until it is back.
        this.#rescan = setTimeout(() => {
          this.#rescan = null;
          this.#scheduleRescan(path, 'change');
        }, RETRY_MS);
      }
      this.#onChange();
    }, SETTLE_MS);
  }
}

const SETTLE_MS = 40;
const RETRY_MS = 500;

function stampOf(file: string): string {
  const { mtimeMs, size, ino } = statSync(file);
  return `${mtimeMs} ${size} ${ino}`;
}

function decodeFile(file: string, stamp: string, before: FileContent | undefined): FileContent {
  const objects: KubernetesObject[] = [];
  const problems: Problem[] = [];
  for (const item of readManifest(file)) {
    const decoded = decodeObject(item);
    if (decoded.ok) {
      objects.push(...decoded.objects);
      continue;
    }
    const { problem } = decoded;
    const name = describeRef(problem.object);
    const lastGood = before?.objects.filter((it) => describeRef(refOf(it)) === name) ?? [];
    objects.push(...lastGood);
    const suffix = lastGood.length > 0 ? '; its last good form serves on' : '; it is not served';
    problems.push({ ...problem, message: `${file}: ${problem.message}${suffix}` });
  }
  return { stamp, objects, problems };
}

function brokenFile(file: string, error: ManifestError): Problem {
  const message = `${error.message}; the last good content of the file serves on`;
  return { object: { kind: 'File', namespace: '', name: file }, reason: 'InvalidObject', message };
}

function duplicate(object: KubernetesObject, file: string): Problem {
  const message = `is defined again, and differently, in ${file}; the first definition is used`;
  return { object: refOf(object), reason: 'DuplicateObject', message };
}
