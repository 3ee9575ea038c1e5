"""A run: one folder of tables, and the configuration that the jobs on it follow."""

from __future__ import annotations

from dataclasses import dataclass

from dfd_ray.config import Config
from dfd_ray.store.storage import join


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run's files are, and its configuration."""

    location: str
    """The run's folder, an absolute path or a URI."""
    config: Config

    def path(self, *parts: str) -> str:
        """Return the location of something in the run's folder."""
        return join(self.location, *parts)
