"""`python -m dfd_ray`: the same as `dfd-ray`."""

import sys

from dfd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
