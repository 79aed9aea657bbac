"""What takes too long, or needs more rights, for every run: `make proof`. These files are not collected by themselves.

Where a machine cannot do it (no root, no loop device, no compiler) a test is skipped, and the page says so in bold.
"""
