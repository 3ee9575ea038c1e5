"""`ray job submit --working-dir . -- python jobs/evaluate.py ...`: `dfd-ray evaluate` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
