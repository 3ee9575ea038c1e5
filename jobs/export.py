"""`ray job submit --working-dir . -- python jobs/export.py ...`: `dfd-ray export` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
