"""The connections to Postgres, its schema, and whether this Postgres is fit for us."""
