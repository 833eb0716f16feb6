"""Activations and programs in memory."""
