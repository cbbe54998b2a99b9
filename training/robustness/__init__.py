"""What is left of a finished run's scores when its test clips are damaged, for every subset of its streams.

Damaging and extracting are not done here, because they need more than the store: see `flows.robustness`.
"""
