"""What always holds (design.md §3), checked from outside: database, log, objects, the simulator's journal.

Reads only. One file per noun; each check is one question with the answer "nothing" when all is well.
"""

from darkroom.audit.audit import audit, examine
from darkroom.audit.findings import Finding, Report

__all__ = ["Finding", "Report", "audit", "examine"]
