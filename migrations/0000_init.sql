CREATE TABLE `pointers` (
	`cluster` text PRIMARY KEY NOT NULL,
	`version` text NOT NULL,
	`fencing_token` integer NOT NULL,
	`pinned` integer NOT NULL,
	`moved_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `problems` (
	`cluster` text NOT NULL,
	`position` integer NOT NULL,
	`kind` text NOT NULL,
	`namespace` text NOT NULL,
	`name` text NOT NULL,
	`reason` text NOT NULL,
	`message` text NOT NULL,
	PRIMARY KEY(`cluster`, `position`)
);
--> statement-breakpoint
CREATE TABLE `publications` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`cluster` text NOT NULL,
	`version` text NOT NULL,
	`manifest` text NOT NULL,
	`signature` text NOT NULL,
	`published_at_ms` integer NOT NULL,
	`published_by` text NOT NULL,
	`fencing_token` integer NOT NULL,
	`virtual_hosts` integer NOT NULL,
	`routes` integer NOT NULL,
	`upstreams` integer NOT NULL,
	`endpoints` integer NOT NULL,
	`problems` integer NOT NULL,
	`size_bytes` integer NOT NULL,
	`changes` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `publications_by_version` ON `publications` (`cluster`,`version`);--> statement-breakpoint
CREATE INDEX `publications_by_age` ON `publications` (`cluster`,`published_at_ms`);