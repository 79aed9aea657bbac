"""Stripe: payment intents, refunds, disputes, events and signed webhooks (providers.md §9). Money never moves here."""
