"""Measurements of what the project claims, beside its peers and in one run. `python -m benchmarks` runs all of them."""
