"""One module for each command: its options, its words, its exit code. The work is done beside this folder."""
