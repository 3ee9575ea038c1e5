"""`ray job submit --working-dir . -- python jobs/index.py ...`: `dfd-ray index` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["index", *sys.argv[1:]]))
