"""What recordings a dataset consists of: one adapter a layout, each a function from a root to its clips.

An adapter reads names and metadata, never audio. A file that the metadata names and the disk has not is listed like
any other, and recorded by ingest.
"""

from collections.abc import Mapping

from pipeline.datasets import csv, esc50, folder, fsd50k, urbansound8k
from pipeline.datasets.listing import Adapter, ListedClip

__all__ = ["ADAPTERS", "Adapter", "ListedClip"]

ADAPTERS: Mapping[str, Adapter] = {
    "folder": folder.list_clips,
    "csv": csv.list_clips,
    "esc50": esc50.list_clips,
    "fsd50k": fsd50k.list_clips,
    "urbansound8k": urbansound8k.list_clips,
    "general_midi": csv.list_clips,  # what pipeline.datasets.general_midi renders
}
"""The layouts timbrel knows, by the name the command line takes."""
