"""Synthesis with Yosys: the cells a design takes, and the proof that none of them multiplies."""
