"""A small labelled corpus, made on the spot for `dfd-ray demo` and the tests. Never imports ray."""

from dfd_ray.demo.folder import make_demo_corpus

__all__ = ["make_demo_corpus"]
