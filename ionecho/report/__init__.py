"""What an analysis says, and how it is written: summary.json, csv, png and one page; no analysis is known here."""

from ionecho.report.content import Figure, Number, Table, by_unit, once
from ionecho.report.digits import rounded
from ionecho.report.report import Report

__all__ = ["Figure", "Number", "Report", "Table", "by_unit", "once", "rounded"]
