"""CLAP: one embedding of sound that words can be compared with."""
