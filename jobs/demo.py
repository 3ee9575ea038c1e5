"""`ray job submit --working-dir . -- python jobs/demo.py ...`: `dfd-ray demo` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
