"""The studio: the page at `/`, and what it is made of below `/studio/`. It speaks /v1 and /auth/v1, as any client."""
