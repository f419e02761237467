-- The form that a turn's answer is to have: {name, schema, strict}. Null: any.
-- Not jsonb, which sorts the names: models write the members of an object in the order of its schema.
ALTER TABLE tasks ADD COLUMN answer_format json;
