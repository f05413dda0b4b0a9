-- Which node polls a channel, and until when it may think so (PostgreSQL).
ALTER TABLE channels ADD COLUMN poll_node TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN poll_until_ms BIGINT NOT NULL DEFAULT 0;
