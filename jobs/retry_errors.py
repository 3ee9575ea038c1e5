"""`ray job submit --working-dir . -- python jobs/retry_errors.py ...`: `dfd-ray retry-errors` on the cluster."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["retry-errors", *sys.argv[1:]]))
