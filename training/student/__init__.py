"""Build a multilingual student encoder from a monolingual teacher and a corpus table."""
