"""What it costs, beside others who do a part of the same, and beside the least that could be. `make bench`."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Where raw figures are kept."""
