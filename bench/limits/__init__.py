"""The least that could be: what is measured beside us where no peer does the same."""
