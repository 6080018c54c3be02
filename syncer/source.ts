import type { ClusterState } from './cluster-state.ts';

/**
 * Where Kubernetes objects come from: a cluster or files. What both give is the same
 * {@link ClusterState}, and the compiler cannot tell them apart.
 */
export interface StateSource {
  /**
   * Begins to read, and to call `onChange` after each change. The callback only notes that
   * something changed; it must not throw.
   */
  start(onChange: () => void): Promise<void>;
  /** Whether each kind was listed once. Before that {@link state} is not the whole truth. */
  readonly synced: boolean;
  /** Everything as it is now. */
  state(): ClusterState;
  stop(): Promise<void>;
}
