"""From a snapshot to a report: windows, encoders, fusion, metrics. It knows the store, not the extractors."""
