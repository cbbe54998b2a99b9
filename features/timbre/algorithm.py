"""One of Essentia's algorithms, without `essentia.standard`.

That module makes a Python class of each of Essentia's 260 algorithms as it is imported, which takes a second in every
worker process, and its classes work out the type of every argument at every call, which takes longer than most of the
algorithms do. What is called here is the compiled class below it.
"""

from collections.abc import Callable
from typing import Any

import essentia
from essentia import _essentia
from essentia.common import convertData

essentia.log.infoActive = False  # an algorithm that is made says on standard error what it lacks


def make_algorithm(name: str, **parameters: Any) -> Callable[..., Any]:
    """The algorithm of this name of Essentia's standard mode, configured; called with floats and float32 arrays.

    Arrays must lie in one piece. Returns what Essentia's own call of it would. Raises ValueError where Essentia has no
    such algorithm or parameter.
    """
    algorithm = _essentia.Algorithm(name)
    algorithm.__configure__(**{key: convertData(value, algorithm.paramType(key)) for key, value in parameters.items()})
    compute: Callable[..., Any] = algorithm.__compute__
    return compute
