"""`ray job submit --working-dir . -- python jobs/preprocess.py ...`: `dfd-ray preprocess` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["preprocess", *sys.argv[1:]]))
