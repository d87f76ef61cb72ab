"""Pages that show what was measured: the report of one model, and the comparison of several."""

from dcvae.report.page import write_report

__all__ = ["write_report"]
