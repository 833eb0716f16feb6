"""Whole accelerators."""
