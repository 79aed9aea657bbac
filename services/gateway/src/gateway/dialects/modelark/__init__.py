"""The modelark frontend: React and Supabase, pictures and videos of ByteDance ModelArk, held-open requests."""
