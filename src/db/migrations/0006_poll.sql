-- Which node polls a channel, and until when it may think so (PostgreSQL); how often a channel is usually heard, and
-- since when it is silent for longer than that.
ALTER TABLE channels ADD COLUMN poll_node TEXT;
ALTER TABLE channels ADD COLUMN poll_until_ms BIGINT;
ALTER TABLE channels ADD COLUMN gaps TEXT;
ALTER TABLE channels ADD COLUMN alarm TEXT;
ALTER TABLE channels ADD COLUMN alarm_ms BIGINT;
