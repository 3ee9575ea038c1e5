"""`ray job submit --working-dir . -- python jobs/analyze.py ...`: `dfd-ray analyze` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["analyze", *sys.argv[1:]]))
