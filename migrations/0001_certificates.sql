CREATE TABLE `certificates` (
	`id` text PRIMARY KEY NOT NULL,
	`cluster` text NOT NULL,
	`kind` text NOT NULL,
	`zone` text NOT NULL,
	`secret_namespace` text NOT NULL,
	`secret_name` text NOT NULL,
	`key_type` text NOT NULL,
	`remote_id` text NOT NULL,
	`fingerprint` text NOT NULL,
	`names` text NOT NULL,
	`not_after_ms` integer NOT NULL,
	`state` text NOT NULL,
	`ids_before` text NOT NULL,
	`begun_at_ms` integer NOT NULL,
	`uploaded_at_ms` integer NOT NULL,
	`unused_since_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `certificates_by_cluster` ON `certificates` (`cluster`);