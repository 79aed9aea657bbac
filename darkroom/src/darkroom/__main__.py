"""`python -m darkroom`, where the program is not on the PATH."""

from darkroom.main import main

main()
