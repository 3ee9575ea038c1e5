"""`ray job submit --working-dir . -- python jobs/pipeline.py ...`: `dfd-ray pipeline` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["pipeline", *sys.argv[1:]]))
