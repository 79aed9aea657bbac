"""Predictions as Replicate has them, over the same generations. It knows no model but those of the catalog."""
