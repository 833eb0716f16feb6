"""From a model to a bitstream: stages, their cache, and what the tools say."""

from .flow import Build, Outcome, build

__all__ = ["Build", "Outcome", "build"]
