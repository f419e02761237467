"""Operations, from their birth to their end: by runners, outside services, polls and deadlines."""
