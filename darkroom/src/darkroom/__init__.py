"""The command line: runs the whole stack on one machine, uses it, audits it and repairs it."""
