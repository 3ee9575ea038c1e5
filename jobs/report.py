"""`ray job submit --working-dir . -- python jobs/report.py ...`: `dfd-ray report` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
