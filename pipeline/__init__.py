"""From audio files to committed features: datasets, ingest, plan, batches, decode, extract, execute, commit."""
