"""What the ledger decides, as functions of what it knows. No database, no broker, no framework."""
