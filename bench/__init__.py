"""What the main job costs: latency, CPU, memory and start, measured on a stack of its own. `make bench`."""
