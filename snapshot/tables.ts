import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';

/**
 * Who published which version when, and what was in it: one row for each time the pointer moved, so
 * a version that came back has two. Rows are never changed once written.
 */
export const publications = sqliteTable(
  'publications',
  {
    id: integer().primaryKey({ autoIncrement: true }),
    cluster: text().notNull(),
    version: text().notNull(),
    /** The manifest's canonical text; its SHA-256 is `version`. */
    manifest: text().notNull(),
    /** Ed25519, base64url; empty when the syncer has no signing key. */
    signature: text().notNull(),
    /** Milliseconds since the epoch, by the syncer's clock. */
    publishedAtMs: integer('published_at_ms').notNull(),
    publishedBy: text('published_by').notNull(),
    fencingToken: integer('fencing_token').notNull(),
    virtualHosts: integer('virtual_hosts').notNull(),
    routes: integer().notNull(),
    upstreams: integer().notNull(),
    endpoints: integer().notNull(),
    problems: integer().notNull(),
    sizeBytes: integer('size_bytes').notNull(),
    /** JSON: what differs from the version before, for people. */
    changes: text().notNull(),
  },
  (table) => [
    index('publications_by_version').on(table.cluster, table.version),
    index('publications_by_age').on(table.cluster, table.publishedAtMs),
  ],
);

/** Which version a cluster serves now. Moved by compare-and-set only. */
export const pointers = sqliteTable('pointers', {
  cluster: text().primaryKey(),
  /** Empty until the first publication. */
  version: text().notNull(),
  /** Of the syncer that may move the pointer; a smaller one is a deposed leader's. */
  fencingToken: integer('fencing_token').notNull(),
  /** A pinned pointer moves only by a person. */
  pinned: integer({ mode: 'boolean' }).notNull(),
  /** Milliseconds since the epoch. */
  movedAtMs: integer('moved_at_ms').notNull(),
});

/** The problems of the cluster's newest compilation, in the order in which they are shown. */
export const problems = sqliteTable(
  'problems',
  {
    cluster: text().notNull(),
    position: integer().notNull(),
    kind: text().notNull(),
    namespace: text().notNull(),
    name: text().notNull(),
    reason: text().notNull(),
    message: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.cluster, table.position] })],
);

/**
 * What this cluster's syncer put into Cloudflare's TLS, so that it changes and deletes that and
 * nothing else. A row is there before the call that it tells of. No private key is ever in it.
 */
export const certificates = sqliteTable(
  'certificates',
  {
    /** Made up by the syncer before the upload, so that a lost answer writes no second row. */
    id: text().primaryKey(),
    cluster: text().notNull(),
    /**
     * `server`: a certificate of a zone. `authority`: one of the account, which vouches for clients.
     * `association`: the hosts of a zone that ask for clients of an authority.
     */
    kind: text({ enum: ['server', 'authority', 'association'] }).notNull(),
    /** Cloudflare's id of the zone; empty for an authority. */
    zone: text().notNull(),
    /** Of the Secret; both are empty but for a server's. */
    secretNamespace: text('secret_namespace').notNull(),
    secretName: text('secret_name').notNull(),
    /** `rsa` or `ecdsa`; empty but for a server's. */
    keyType: text('key_type').notNull(),
    /** Cloudflare's id; empty until it is known. */
    remoteId: text('remote_id').notNull(),
    /** SHA-256 of the certificate, lower-case hexadecimal. */
    fingerprint: text().notNull(),
    /** JSON: the DNS names of a certificate, or the hosts of an association; ascending. */
    names: text().notNull(),
    /** Milliseconds since the epoch, as are the times below. */
    notAfterMs: integer('not_after_ms').notNull(),
    /** What was begun, or `uploaded` when nothing is under way. */
    state: text({ enum: ['creating', 'replacing', 'uploaded', 'deleting'] }).notNull(),
    /** JSON: the ids that the zone had before the upload, among which ours is not. */
    idsBefore: text('ids_before').notNull(),
    begunAtMs: integer('begun_at_ms').notNull(),
    uploadedAtMs: integer('uploaded_at_ms').notNull(),
    /** Since when nothing asks for it; 0 while something does. */
    unusedSinceMs: integer('unused_since_ms').notNull(),
  },
  (table) => [index('certificates_by_cluster').on(table.cluster)],
);
