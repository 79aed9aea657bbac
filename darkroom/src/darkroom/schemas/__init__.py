"""The contracts as documents that other languages read. Pure: what is written depends on the contracts alone."""
