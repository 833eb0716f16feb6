"""cocotb benches that run on the generated Verilog, and the runner that builds and starts them."""
