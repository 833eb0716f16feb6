"""How well the structure holds: see `bench.structure.__main__`."""
