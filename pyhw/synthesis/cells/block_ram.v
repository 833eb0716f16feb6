// A dual-port block RAM of 2,048 bytes of 9 bits, as ECP5 and Gowin have it, for simulation.
//
// A port has a width of 1, 2, 4, 9, 18 or 36 bits; up to 4 bits it does not see the ninth bit of a
// byte. Addresses count bits: their low bits are unused, or byte enables from 18 bits on. A write
// leaves the output (mode 0), or shows the new (1) or the old data (2). What a port reads in the
// cycle in which the other one writes it is not specified; here it comes out inverted. Both ports
// must have one clock for that.
//
// Initial contents come in pairs of bytes of BYTE bits, PAIR bits apart. In a design that gives none
// (without PYHW_CONTENTS) all bytes are arbitrary at first: it may not rely on their being zero.

module pyhw_block_ram #(
  parameter WIDTH_A = 18, parameter WIDTH_B = 18, parameter MODE_A = 0, parameter MODE_B = 0,
  parameter ASYNC_RESET = 0, parameter BYTE = 9, parameter PAIR = 18,
  parameter [20479:0] CONTENTS = 0
) (
  input clk_a, input ce_a, input we_a, input rst_a, input [13:0] addr_a, input [35:0] in_a,
  output [35:0] out_a,
  input clk_b, input ce_b, input we_b, input rst_b, input [13:0] addr_b, input [35:0] in_b,
  output [35:0] out_b
);
  reg [8:0] bytes [0:2047];
  reg [35:0] held_a = 0, held_b = 0;
  integer k;
`ifdef PYHW_CONTENTS
  initial for (k = 0; k < 2048; k = k + 1)
    bytes[k] = CONTENTS[(k / 2) * PAIR + (k % 2) * BYTE +: BYTE];
`else
  initial for (k = 0; k < 2048; k = k + 1) bytes[k] = 9'h0b5 ^ k[8:0];
`endif

  wire write_a = ce_a & we_a, write_b = ce_b & we_b;

  // The bits that a port writes in byte `index`.
  function [8:0] written;
    input integer width;
    input write;
    input [13:0] addr;
    input [10:0] index;
    reg [10:0] part;
    begin
      written = 0;
      part = width == 36 ? index - {addr[13:5], 2'b00} : index - {addr[13:4], 1'b0};
      if (!write) written = 0;
      else if (width == 36) written = part < 4 && addr[part[1:0]] ? 9'h1ff : 9'h000;
      else if (width == 18) written = part < 2 && addr[part[0]] ? 9'h1ff : 9'h000;
      else if (index != addr[13:3]) written = 0;
      else if (width == 9) written = 9'h1ff;
      else if (width == 4) written = 9'h00f << {addr[2], 2'b00};
      else if (width == 2) written = 9'h003 << {addr[2:1], 1'b0};
      else written = 9'h001 << addr[2:0];
    end
  endfunction

  // The byte that comes first in a port's word, and how far its data are shifted within it.
  function [10:0] first;
    input integer width;
    input [13:0] addr;
    first = width == 36 ? {addr[13:5], 2'b00} : width == 18 ? {addr[13:4], 1'b0} : addr[13:3];
  endfunction

  function [2:0] offset;
    input integer width;
    input [13:0] addr;
    offset = width == 4 ? {addr[2], 2'b00} : width == 2 ? {addr[2:1], 1'b0}
             : width == 1 ? addr[2:0] : 3'd0;
  endfunction

  // What a port reads, of the bytes as they are and with the other port in the way.
  function [35:0] word;
    input integer width;
    input [13:0] addr;
    input integer other_width;
    input other_write;
    input [13:0] other_addr;
    integer i;
    reg [10:0] index;
    begin
      word = 0;
      for (i = 0; i < 4; i = i + 1) begin
        index = first(width, addr) + i[10:0];
        if (i * 9 < width)
          word[i * 9 +: 9] = bytes[index] ^ written(other_width, other_write, other_addr, index);
      end
      if (width < 9) word = (word >> offset(width, addr)) & ((36'd1 << width) - 36'd1);
    end
  endfunction

  integer a, b;
  reg [8:0] mask_a, mask_b;
  reg [10:0] index_a, index_b;
  reg [35:0] data_a, data_b;

  always @(posedge clk_a) begin
    if (rst_a) held_a <= 0;
    else if (ce_a && (!we_a || MODE_A == 2))
      held_a <= word(WIDTH_A, addr_a, WIDTH_B, write_b, addr_b);
    else if (ce_a && MODE_A == 1) held_a <= in_a;
    data_a = in_a << offset(WIDTH_A, addr_a);
    for (a = 0; a < 4; a = a + 1) begin
      index_a = first(WIDTH_A, addr_a) + a[10:0];
      mask_a = written(WIDTH_A, write_a, addr_a, index_a);
      if (mask_a != 0)
        bytes[index_a] <= (bytes[index_a] & ~mask_a) | (data_a[a * 9 +: 9] & mask_a);
    end
  end

  always @(posedge clk_b) begin
    if (rst_b) held_b <= 0;
    else if (ce_b && (!we_b || MODE_B == 2))
      held_b <= word(WIDTH_B, addr_b, WIDTH_A, write_a, addr_a);
    else if (ce_b && MODE_B == 1) held_b <= in_b;
    data_b = in_b << offset(WIDTH_B, addr_b);
    for (b = 0; b < 4; b = b + 1) begin
      index_b = first(WIDTH_B, addr_b) + b[10:0];
      mask_b = written(WIDTH_B, write_b, addr_b, index_b);
      if (mask_b != 0)
        bytes[index_b] <= (bytes[index_b] & ~mask_b) | (data_b[b * 9 +: 9] & mask_b);
    end
  end

  assign out_a = ASYNC_RESET && rst_a ? 36'd0 : held_a;
  assign out_b = ASYNC_RESET && rst_b ? 36'd0 : held_b;
endmodule
