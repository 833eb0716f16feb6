"""Engines, what they read and what accumulates their sums."""
