"""Numbers from waveforms: pitch, timbre, neural embeddings, the waveform itself. No files, no store, no Dask."""
