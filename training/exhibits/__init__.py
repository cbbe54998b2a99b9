"""What a report shows beside figures: a map of the test clips, what the streams carried, and the worst mistakes.

All of it is computed from the store and a run's own files, so that a page can be made again without the recordings.
"""

from training.exhibits.collect import Exhibits, make_exhibits

__all__ = ["Exhibits", "make_exhibits"]
