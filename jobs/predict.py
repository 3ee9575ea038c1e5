"""`ray job submit --working-dir . -- python jobs/predict.py ...`: `dfd-ray predict` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
