"""Simulate generated Verilog: start the benches of the ``sim`` package as a separate program."""
