// The larger memories: a model that keeps the contract in pyhw_ram.v and no more than that.
//
// For silicon, replace the body: one `if` in a generate block for each size in README.md, with the
// macro of your process. One with a read/write port and a read port writes with the first and
// reads with the second; one with a mask takes write_enable, a granule for each bit.

`default_nettype none

module pyhw_ram_macro #(
  parameter WIDTH = 8,
  parameter DEPTH = 256,
  parameter GRANULE = 8,
  parameter ADDRESS = 8
) (
  input  wire                       clk,
  input  wire [WIDTH/GRANULE - 1:0] write_enable,
  input  wire [ADDRESS - 1:0]       write_address,
  input  wire [WIDTH - 1:0]         write_data,
  input  wire                       read_enable,
  input  wire [ADDRESS - 1:0]       read_address,
  output reg  [WIDTH - 1:0]         read_data
);
  reg [WIDTH - 1:0] words [0:DEPTH - 1];
  integer k;

  always @(posedge clk) begin
    for (k = 0; k < WIDTH / GRANULE; k = k + 1)
      if (write_enable[k])
        words[write_address][k * GRANULE +: GRANULE] <= write_data[k * GRANULE +: GRANULE];
    if (read_enable) begin
      read_data <= words[read_address];
`ifndef SYNTHESIS
      // A macro may give anything here; the design must not look at it.
      for (k = 0; k < WIDTH / GRANULE; k = k + 1)
        if (write_enable[k] && write_address == read_address)
          read_data[k * GRANULE +: GRANULE] <= ~words[read_address][k * GRANULE +: GRANULE];
`endif
    end
  end
endmodule

`default_nettype wire
