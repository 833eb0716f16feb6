// The wrapper of every memory of the accelerator: the one place to choose what a memory is made of.
//
// Contract. One clock. A write takes the granules whose enable is high. A read that is enabled at a
// clock edge gives its word from that edge on, until the next enabled read; a word that is
// written at the same edge may come out as anything. Nothing is assumed of the contents at first.
//
// Small memories are registers; for the others put macros of your process into pyhw_ram_macro.v.

`default_nettype none

module pyhw_ram #(
  parameter WIDTH = 8,
  parameter DEPTH = 256,
  parameter GRANULE = 8,
  parameter ADDRESS = 8,
  parameter REGISTER_BITS = 1024
) (
  input  wire                       clk,
  input  wire [WIDTH/GRANULE - 1:0] write_enable,
  input  wire [ADDRESS - 1:0]       write_address,
  input  wire [WIDTH - 1:0]         write_data,
  input  wire                       read_enable,
  input  wire [ADDRESS - 1:0]       read_address,
  output wire [WIDTH - 1:0]         read_data
);
  generate
    if (WIDTH * DEPTH <= REGISTER_BITS) begin : g_registers
      pyhw_ram_registers #(
        .WIDTH(WIDTH), .DEPTH(DEPTH), .GRANULE(GRANULE), .ADDRESS(ADDRESS)
      ) ram (
        .clk(clk), .write_enable(write_enable), .write_address(write_address),
        .write_data(write_data), .read_enable(read_enable), .read_address(read_address),
        .read_data(read_data)
      );
    end else begin : g_macro
      pyhw_ram_macro #(
        .WIDTH(WIDTH), .DEPTH(DEPTH), .GRANULE(GRANULE), .ADDRESS(ADDRESS)
      ) ram (
        .clk(clk), .write_enable(write_enable), .write_address(write_address),
        .write_data(write_data), .read_enable(read_enable), .read_address(read_address),
        .read_data(read_data)
      );
    end
  endgenerate
endmodule

`default_nettype wire
