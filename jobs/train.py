"""`ray job submit --working-dir . -- python jobs/train.py ...`: `dfd-ray train` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
