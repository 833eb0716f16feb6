"""Which accelerator fits which device: memories, area, cycles, and the search over them."""
