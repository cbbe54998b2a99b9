"""A training run as one page that needs nothing but a browser."""

from training.report.report import render_report, write_report

__all__ = ["render_report", "write_report"]
