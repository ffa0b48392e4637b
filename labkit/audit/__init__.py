"""The audit: a checklist of 27 items, each a rule over evidence that is found live, and a monitor for the time between."""

from labkit.audit.auditor import audit
from labkit.audit.checklist import BY_ID, ITEMS, MISTAKES, Item
from labkit.audit.evidence import Evidence, Verdict
from labkit.audit.report import Change, Judged, Report, compare
from labkit.audit.target import PARTS, BoardFiles, Target, Tool, verify_ours

__all__ = [
    "BY_ID",
    "ITEMS",
    "MISTAKES",
    "PARTS",
    "BoardFiles",
    "Change",
    "Evidence",
    "Item",
    "Judged",
    "Report",
    "Target",
    "Tool",
    "Verdict",
    "audit",
    "compare",
    "verify_ours",
]
