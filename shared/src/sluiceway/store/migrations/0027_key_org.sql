-- A key of an organisation sees and does what is of that one alone, see ADR 37. NULL: it is of the whole installation.
ALTER TABLE api_keys ADD COLUMN org text;
