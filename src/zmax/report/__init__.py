"""Results as pages: numbers first, figures second, one self-contained HTML file last."""

from zmax.report.archive import save_archive
from zmax.report.export import export_samples
from zmax.report.page import write_report

__all__ = ["export_samples", "save_archive", "write_report"]
