"""The page of a finetune."""

from zmax.report.tuning.page import write_tuning

__all__ = ["write_tuning"]
