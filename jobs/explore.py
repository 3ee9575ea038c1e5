"""`ray job submit --working-dir . -- python jobs/explore.py ...`: `dfd-ray explore` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["explore", *sys.argv[1:]]))
