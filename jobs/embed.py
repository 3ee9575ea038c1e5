"""`ray job submit --working-dir . -- python jobs/embed.py ...`: `dfd-ray embed` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["embed", *sys.argv[1:]]))
