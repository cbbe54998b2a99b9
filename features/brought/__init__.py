"""Models that a person brings, a Hugging Face folder or a hub id, known by the hash of their files."""
