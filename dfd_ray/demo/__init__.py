"""The small labelled corpus that is made on the spot, for `dfd-ray demo` and the tests. Never imports ray."""

from dfd_ray.demo.clips import make_demo_corpus

__all__ = ["make_demo_corpus"]
