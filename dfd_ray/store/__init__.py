"""A run's files: storage, tables, schemas, models, the lock and the summaries."""
