"""Hidden lookup: the asker learns one answer, the source learns that somebody asked."""
