"""Targets: what turns an integer graph into hardware.

`Target` is the seam: compile, generate, cycles, area, simulate, build and connect. Nothing outside
a target knows what its program is made of. `accelerator` is the one there is: the template in all
sizes whose programs are memory images. A further one is a module here and a line in `TARGETS`.
"""

from .base import Program, Target
from .registry import TARGETS, read_program, target_of

__all__ = ["Program", "TARGETS", "Target", "read_program", "target_of"]
