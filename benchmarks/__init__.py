"""What the project claims, measured: ours beside its peers, in one run. `python -m benchmarks` runs all of them."""
