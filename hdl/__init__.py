"""Gateware of pyhw: multiplier-free engines, scratchpads, post-processor and sequencer."""
