"""Data sets and the identifiers in them: read as Arrow batches of named columns, keys in canonical form."""
