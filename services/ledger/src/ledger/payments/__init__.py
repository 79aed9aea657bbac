"""Payments through Stripe: begun, reported, credited, taken back. Neither key nor webhook secret leaves this folder."""
