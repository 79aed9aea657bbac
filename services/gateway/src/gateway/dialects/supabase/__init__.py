"""What frontends ask of Supabase itself: signing in, and reading tables. Never a copy of what the core tables hold."""
