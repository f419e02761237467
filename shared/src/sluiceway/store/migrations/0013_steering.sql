-- A message for a turn that runs: at the next boundary of its steps that turn ends, and this one continues with it.

-- The turn before it, which it is for.
ALTER TABLE tasks ADD COLUMN steers text;
-- That turn ended for it. Otherwise it is a turn like any other.
ALTER TABLE tasks ADD COLUMN entered boolean NOT NULL DEFAULT false;
