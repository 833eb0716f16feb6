"""Multiplier-free neural networks, from training in PyTorch to a bit-exact accelerator.

Importing this package is instant: its parts import what they need when they are imported.
"""

__version__ = "0.1.0"
