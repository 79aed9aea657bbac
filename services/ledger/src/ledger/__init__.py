"""Owns accounts, postings, holds, prices and payments. Never knows what a picture is."""
