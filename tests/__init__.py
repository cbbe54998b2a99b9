"""The tests hold every process to one thread, whoever starts them: on a few cores more would only wait for each other,
and sums are in the same order whatever the number of processes.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
