"""Owns accounts, postings, holds and prices. Never knows what a picture is."""
