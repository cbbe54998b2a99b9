"""Pitch: how much each of 360 pitches is present in each frame, by the CREPE network (Kim et al., ICASSP 2018)."""
