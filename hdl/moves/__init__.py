"""Moves: instructions that fill the memories that engines read."""
