"""Keys of programs: made, believed, bounded in what they may do and spend. Never keeps a key, only its hash."""
