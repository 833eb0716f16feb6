// A memory of flip-flops that keeps the contract in pyhw_ram.v; for synthesis as it is.

`default_nettype none

module pyhw_ram_registers #(
  parameter WIDTH = 8,
  parameter DEPTH = 4,
  parameter GRANULE = 8,
  parameter ADDRESS = 2
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
    if (read_enable) read_data <= words[read_address];
  end
endmodule

`default_nettype wire
