-- A lease also says which start of which process holds it, by clocks that nobody sets, so that it is known whether
-- that process still lives; and since when somebody who wanted the lease has seen it unrenewed.
ALTER TABLE lease ADD COLUMN machine TEXT NOT NULL DEFAULT '';

ALTER TABLE lease ADD COLUMN started TEXT NOT NULL DEFAULT '';

ALTER TABLE lease ADD COLUMN seen_at INTEGER;
