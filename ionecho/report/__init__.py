"""What an analysis says, and how it is written: summary.json, csv, png and one page; no analysis is known here."""

from ionecho.report.content import Figure, Number, Table, by_unit, once
from ionecho.report.digits import rounded
from ionecho.report.panel import Axis, Band, Bins, Curve, Level, Mesh, Panel, Rings, Text
from ionecho.report.report import Report
from ionecho.report.scene import Scene

__all__ = [
    "Axis",
    "Band",
    "Bins",
    "Curve",
    "Figure",
    "Level",
    "Mesh",
    "Number",
    "Panel",
    "Report",
    "Rings",
    "Scene",
    "Table",
    "Text",
    "by_unit",
    "once",
    "rounded",
]
