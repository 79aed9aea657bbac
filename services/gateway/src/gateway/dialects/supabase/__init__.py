"""What the frontends ask Supabase itself: signing in, their tables through PostgREST, and public objects.

Of tables only the queries that they are known to send: a select with one embedded level, `eq`, `order`, `limit`, one
object, a count, and delete. Every statement runs in the asker's role with the asker's claims, so that row-level
security decides what is seen (docs/adr/0024); names come from the catalog of exported views, never from the request.
"""
