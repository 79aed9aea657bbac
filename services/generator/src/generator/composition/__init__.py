"""Makes films of still pictures and sound, and takes the sound out of films, in a process of its own with bounds on
memory and time.

Knows nothing of generations, users or providers: a folder with a plan and what it names goes in, an MP4 comes out; or a
film, and an MP3.
"""
