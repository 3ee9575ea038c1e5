"""The page of a run: one HTML file that opens offline and loads nothing."""

from dfd_ray.report.page import build_report

__all__ = ["build_report"]
