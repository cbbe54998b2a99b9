"""Hand-made descriptors of timbre, by Essentia."""
