-- The form that a turn's answer is to have: {name, schema, strict}. Null: any.
ALTER TABLE tasks ADD COLUMN answer_format jsonb;
