-- How a channel keeps from looking like a machine (core/pace.h); NULL: the driver's default.
ALTER TABLE channels ADD COLUMN spacing_ms BIGINT;
ALTER TABLE channels ADD COLUMN new_per_day BIGINT;
ALTER TABLE channels ADD COLUMN warmup_days BIGINT;
