// Block RAMs and adders of Gowin's GW1N and GW2A for simulation; the RAMs are on `pyhw_block_ram`.
// X9 are those with nine bits a byte; DP has two ports that read and write, SDP writes with A and
// reads with B. Output registers are not used.

// Initial contents of any of them, lowest bits first in INIT_RAM_00.
`define PYHW_GOWIN_CONTENTS { \
  INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, \
  INIT_RAM_39, INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, \
  INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, \
  INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
  INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, \
  INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, \
  INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16, \
  INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
  INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, \
  INIT_RAM_09, INIT_RAM_08, INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, \
  INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00}

module DPX9B #(
  parameter BIT_WIDTH_0 = 18, parameter BIT_WIDTH_1 = 18, parameter BLK_SEL_0 = 3'b000,
  parameter BLK_SEL_1 = 3'b000, parameter RESET_MODE = "SYNC",
  parameter READ_MODE0 = 1'b0, parameter READ_MODE1 = 1'b0, parameter WRITE_MODE0 = 2'b00,
  parameter WRITE_MODE1 = 2'b00,
  parameter [287:0] INIT_RAM_00 = 0, parameter [287:0] INIT_RAM_01 = 0,
  parameter [287:0] INIT_RAM_02 = 0, parameter [287:0] INIT_RAM_03 = 0,
  parameter [287:0] INIT_RAM_04 = 0, parameter [287:0] INIT_RAM_05 = 0,
  parameter [287:0] INIT_RAM_06 = 0, parameter [287:0] INIT_RAM_07 = 0,
  parameter [287:0] INIT_RAM_08 = 0, parameter [287:0] INIT_RAM_09 = 0,
  parameter [287:0] INIT_RAM_0A = 0, parameter [287:0] INIT_RAM_0B = 0,
  parameter [287:0] INIT_RAM_0C = 0, parameter [287:0] INIT_RAM_0D = 0,
  parameter [287:0] INIT_RAM_0E = 0, parameter [287:0] INIT_RAM_0F = 0,
  parameter [287:0] INIT_RAM_10 = 0, parameter [287:0] INIT_RAM_11 = 0,
  parameter [287:0] INIT_RAM_12 = 0, parameter [287:0] INIT_RAM_13 = 0,
  parameter [287:0] INIT_RAM_14 = 0, parameter [287:0] INIT_RAM_15 = 0,
  parameter [287:0] INIT_RAM_16 = 0, parameter [287:0] INIT_RAM_17 = 0,
  parameter [287:0] INIT_RAM_18 = 0, parameter [287:0] INIT_RAM_19 = 0,
  parameter [287:0] INIT_RAM_1A = 0, parameter [287:0] INIT_RAM_1B = 0,
  parameter [287:0] INIT_RAM_1C = 0, parameter [287:0] INIT_RAM_1D = 0,
  parameter [287:0] INIT_RAM_1E = 0, parameter [287:0] INIT_RAM_1F = 0,
  parameter [287:0] INIT_RAM_20 = 0, parameter [287:0] INIT_RAM_21 = 0,
  parameter [287:0] INIT_RAM_22 = 0, parameter [287:0] INIT_RAM_23 = 0,
  parameter [287:0] INIT_RAM_24 = 0, parameter [287:0] INIT_RAM_25 = 0,
  parameter [287:0] INIT_RAM_26 = 0, parameter [287:0] INIT_RAM_27 = 0,
  parameter [287:0] INIT_RAM_28 = 0, parameter [287:0] INIT_RAM_29 = 0,
  parameter [287:0] INIT_RAM_2A = 0, parameter [287:0] INIT_RAM_2B = 0,
  parameter [287:0] INIT_RAM_2C = 0, parameter [287:0] INIT_RAM_2D = 0,
  parameter [287:0] INIT_RAM_2E = 0, parameter [287:0] INIT_RAM_2F = 0,
  parameter [287:0] INIT_RAM_30 = 0, parameter [287:0] INIT_RAM_31 = 0,
  parameter [287:0] INIT_RAM_32 = 0, parameter [287:0] INIT_RAM_33 = 0,
  parameter [287:0] INIT_RAM_34 = 0, parameter [287:0] INIT_RAM_35 = 0,
  parameter [287:0] INIT_RAM_36 = 0, parameter [287:0] INIT_RAM_37 = 0,
  parameter [287:0] INIT_RAM_38 = 0, parameter [287:0] INIT_RAM_39 = 0,
  parameter [287:0] INIT_RAM_3A = 0, parameter [287:0] INIT_RAM_3B = 0,
  parameter [287:0] INIT_RAM_3C = 0, parameter [287:0] INIT_RAM_3D = 0,
  parameter [287:0] INIT_RAM_3E = 0, parameter [287:0] INIT_RAM_3F = 0
) (
  input CLKA, input CEA, input OCEA, input WREA, input RESETA, input [2:0] BLKSELA,
  input [13:0] ADA, input [17:0] DIA, output [17:0] DOA,
  input CLKB, input CEB, input OCEB, input WREB, input RESETB, input [2:0] BLKSELB,
  input [13:0] ADB, input [17:0] DIB, output [17:0] DOB
);
  initial if (READ_MODE0 != 0 || READ_MODE1 != 0 || BLK_SEL_0 != 0 || BLK_SEL_1 != 0) begin
    $display("%m: a DPX9B in a way that has no model");
    $finish;
  end
  wire [35:0] out_a, out_b;
  pyhw_block_ram #(
    .WIDTH_A(BIT_WIDTH_0),
    .WIDTH_B(BIT_WIDTH_1),
    .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1), .ASYNC_RESET(RESET_MODE == "ASYNC"),
    .CONTENTS(`PYHW_GOWIN_CONTENTS)
  ) ram (
    .clk_a(CLKA), .ce_a(CEA & BLKSELA == 0), .we_a(WREA), .rst_a(RESETA), .addr_a(ADA),
    .in_a({18'd0, DIA}),
    .out_a(out_a),
    .clk_b(CLKB), .ce_b(CEB & BLKSELB == 0), .we_b(WREB), .rst_b(RESETB), .addr_b(ADB),
    .in_b({18'd0, DIB}),
    .out_b(out_b)
  );
  assign DOA = out_a;
  assign DOB = out_b;
endmodule

module DPB #(
  parameter BIT_WIDTH_0 = 16, parameter BIT_WIDTH_1 = 16, parameter BLK_SEL_0 = 3'b000,
  parameter BLK_SEL_1 = 3'b000, parameter RESET_MODE = "SYNC",
  parameter READ_MODE0 = 1'b0, parameter READ_MODE1 = 1'b0, parameter WRITE_MODE0 = 2'b00,
  parameter WRITE_MODE1 = 2'b00,
  parameter [255:0] INIT_RAM_00 = 0, parameter [255:0] INIT_RAM_01 = 0,
  parameter [255:0] INIT_RAM_02 = 0, parameter [255:0] INIT_RAM_03 = 0,
  parameter [255:0] INIT_RAM_04 = 0, parameter [255:0] INIT_RAM_05 = 0,
  parameter [255:0] INIT_RAM_06 = 0, parameter [255:0] INIT_RAM_07 = 0,
  parameter [255:0] INIT_RAM_08 = 0, parameter [255:0] INIT_RAM_09 = 0,
  parameter [255:0] INIT_RAM_0A = 0, parameter [255:0] INIT_RAM_0B = 0,
  parameter [255:0] INIT_RAM_0C = 0, parameter [255:0] INIT_RAM_0D = 0,
  parameter [255:0] INIT_RAM_0E = 0, parameter [255:0] INIT_RAM_0F = 0,
  parameter [255:0] INIT_RAM_10 = 0, parameter [255:0] INIT_RAM_11 = 0,
  parameter [255:0] INIT_RAM_12 = 0, parameter [255:0] INIT_RAM_13 = 0,
  parameter [255:0] INIT_RAM_14 = 0, parameter [255:0] INIT_RAM_15 = 0,
  parameter [255:0] INIT_RAM_16 = 0, parameter [255:0] INIT_RAM_17 = 0,
  parameter [255:0] INIT_RAM_18 = 0, parameter [255:0] INIT_RAM_19 = 0,
  parameter [255:0] INIT_RAM_1A = 0, parameter [255:0] INIT_RAM_1B = 0,
  parameter [255:0] INIT_RAM_1C = 0, parameter [255:0] INIT_RAM_1D = 0,
  parameter [255:0] INIT_RAM_1E = 0, parameter [255:0] INIT_RAM_1F = 0,
  parameter [255:0] INIT_RAM_20 = 0, parameter [255:0] INIT_RAM_21 = 0,
  parameter [255:0] INIT_RAM_22 = 0, parameter [255:0] INIT_RAM_23 = 0,
  parameter [255:0] INIT_RAM_24 = 0, parameter [255:0] INIT_RAM_25 = 0,
  parameter [255:0] INIT_RAM_26 = 0, parameter [255:0] INIT_RAM_27 = 0,
  parameter [255:0] INIT_RAM_28 = 0, parameter [255:0] INIT_RAM_29 = 0,
  parameter [255:0] INIT_RAM_2A = 0, parameter [255:0] INIT_RAM_2B = 0,
  parameter [255:0] INIT_RAM_2C = 0, parameter [255:0] INIT_RAM_2D = 0,
  parameter [255:0] INIT_RAM_2E = 0, parameter [255:0] INIT_RAM_2F = 0,
  parameter [255:0] INIT_RAM_30 = 0, parameter [255:0] INIT_RAM_31 = 0,
  parameter [255:0] INIT_RAM_32 = 0, parameter [255:0] INIT_RAM_33 = 0,
  parameter [255:0] INIT_RAM_34 = 0, parameter [255:0] INIT_RAM_35 = 0,
  parameter [255:0] INIT_RAM_36 = 0, parameter [255:0] INIT_RAM_37 = 0,
  parameter [255:0] INIT_RAM_38 = 0, parameter [255:0] INIT_RAM_39 = 0,
  parameter [255:0] INIT_RAM_3A = 0, parameter [255:0] INIT_RAM_3B = 0,
  parameter [255:0] INIT_RAM_3C = 0, parameter [255:0] INIT_RAM_3D = 0,
  parameter [255:0] INIT_RAM_3E = 0, parameter [255:0] INIT_RAM_3F = 0
) (
  input CLKA, input CEA, input OCEA, input WREA, input RESETA, input [2:0] BLKSELA,
  input [13:0] ADA, input [15:0] DIA, output [15:0] DOA,
  input CLKB, input CEB, input OCEB, input WREB, input RESETB, input [2:0] BLKSELB,
  input [13:0] ADB, input [15:0] DIB, output [15:0] DOB
);
  initial if (READ_MODE0 != 0 || READ_MODE1 != 0 || BLK_SEL_0 != 0 || BLK_SEL_1 != 0) begin
    $display("%m: a DPB in a way that has no model");
    $finish;
  end
  wire [35:0] out_a, out_b;
  pyhw_block_ram #(
    .WIDTH_A((BIT_WIDTH_0 >= 8 ? BIT_WIDTH_0 / 8 * 9 : BIT_WIDTH_0)),
    .WIDTH_B((BIT_WIDTH_1 >= 8 ? BIT_WIDTH_1 / 8 * 9 : BIT_WIDTH_1)),
    .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1), .ASYNC_RESET(RESET_MODE == "ASYNC"), .BYTE(8), .PAIR(16),
    .CONTENTS(`PYHW_GOWIN_CONTENTS)
  ) ram (
    .clk_a(CLKA), .ce_a(CEA & BLKSELA == 0), .we_a(WREA), .rst_a(RESETA), .addr_a(ADA),
    .in_a(BIT_WIDTH_0 < 8 ? {20'd0, DIA} : {18'd0, {1'b0, DIA[15:8], 1'b0, DIA[7:0]}}),
    .out_a(out_a),
    .clk_b(CLKB), .ce_b(CEB & BLKSELB == 0), .we_b(WREB), .rst_b(RESETB), .addr_b(ADB),
    .in_b(BIT_WIDTH_1 < 8 ? {20'd0, DIB} : {18'd0, {1'b0, DIB[15:8], 1'b0, DIB[7:0]}}),
    .out_b(out_b)
  );
  assign DOA = BIT_WIDTH_0 < 8 ? out_a[15:0] : {out_a[16:9], out_a[7:0]};
  assign DOB = BIT_WIDTH_1 < 8 ? out_b[15:0] : {out_b[16:9], out_b[7:0]};
endmodule

module SDPX9B #(
  parameter BIT_WIDTH_0 = 36, parameter BIT_WIDTH_1 = 36, parameter BLK_SEL_0 = 3'b000,
  parameter BLK_SEL_1 = 3'b000, parameter RESET_MODE = "SYNC",
  parameter READ_MODE = 1'b0,
  parameter [287:0] INIT_RAM_00 = 0, parameter [287:0] INIT_RAM_01 = 0,
  parameter [287:0] INIT_RAM_02 = 0, parameter [287:0] INIT_RAM_03 = 0,
  parameter [287:0] INIT_RAM_04 = 0, parameter [287:0] INIT_RAM_05 = 0,
  parameter [287:0] INIT_RAM_06 = 0, parameter [287:0] INIT_RAM_07 = 0,
  parameter [287:0] INIT_RAM_08 = 0, parameter [287:0] INIT_RAM_09 = 0,
  parameter [287:0] INIT_RAM_0A = 0, parameter [287:0] INIT_RAM_0B = 0,
  parameter [287:0] INIT_RAM_0C = 0, parameter [287:0] INIT_RAM_0D = 0,
  parameter [287:0] INIT_RAM_0E = 0, parameter [287:0] INIT_RAM_0F = 0,
  parameter [287:0] INIT_RAM_10 = 0, parameter [287:0] INIT_RAM_11 = 0,
  parameter [287:0] INIT_RAM_12 = 0, parameter [287:0] INIT_RAM_13 = 0,
  parameter [287:0] INIT_RAM_14 = 0, parameter [287:0] INIT_RAM_15 = 0,
  parameter [287:0] INIT_RAM_16 = 0, parameter [287:0] INIT_RAM_17 = 0,
  parameter [287:0] INIT_RAM_18 = 0, parameter [287:0] INIT_RAM_19 = 0,
  parameter [287:0] INIT_RAM_1A = 0, parameter [287:0] INIT_RAM_1B = 0,
  parameter [287:0] INIT_RAM_1C = 0, parameter [287:0] INIT_RAM_1D = 0,
  parameter [287:0] INIT_RAM_1E = 0, parameter [287:0] INIT_RAM_1F = 0,
  parameter [287:0] INIT_RAM_20 = 0, parameter [287:0] INIT_RAM_21 = 0,
  parameter [287:0] INIT_RAM_22 = 0, parameter [287:0] INIT_RAM_23 = 0,
  parameter [287:0] INIT_RAM_24 = 0, parameter [287:0] INIT_RAM_25 = 0,
  parameter [287:0] INIT_RAM_26 = 0, parameter [287:0] INIT_RAM_27 = 0,
  parameter [287:0] INIT_RAM_28 = 0, parameter [287:0] INIT_RAM_29 = 0,
  parameter [287:0] INIT_RAM_2A = 0, parameter [287:0] INIT_RAM_2B = 0,
  parameter [287:0] INIT_RAM_2C = 0, parameter [287:0] INIT_RAM_2D = 0,
  parameter [287:0] INIT_RAM_2E = 0, parameter [287:0] INIT_RAM_2F = 0,
  parameter [287:0] INIT_RAM_30 = 0, parameter [287:0] INIT_RAM_31 = 0,
  parameter [287:0] INIT_RAM_32 = 0, parameter [287:0] INIT_RAM_33 = 0,
  parameter [287:0] INIT_RAM_34 = 0, parameter [287:0] INIT_RAM_35 = 0,
  parameter [287:0] INIT_RAM_36 = 0, parameter [287:0] INIT_RAM_37 = 0,
  parameter [287:0] INIT_RAM_38 = 0, parameter [287:0] INIT_RAM_39 = 0,
  parameter [287:0] INIT_RAM_3A = 0, parameter [287:0] INIT_RAM_3B = 0,
  parameter [287:0] INIT_RAM_3C = 0, parameter [287:0] INIT_RAM_3D = 0,
  parameter [287:0] INIT_RAM_3E = 0, parameter [287:0] INIT_RAM_3F = 0
) (
  input CLKA, input CEA, input RESETA, input [2:0] BLKSELA, input [13:0] ADA,
  input [35:0] DI,
  input CLKB, input CEB, input OCE, input RESETB, input [2:0] BLKSELB, input [13:0] ADB,
  output [35:0] DO
);
  initial if (READ_MODE != 0 || BLK_SEL_0 != 0 || BLK_SEL_1 != 0) begin
    $display("%m: a SDPX9B in a way that has no model");
    $finish;
  end
  wire [35:0] out_a, out_b;
  pyhw_block_ram #(
    .WIDTH_A(BIT_WIDTH_0),
    .WIDTH_B(BIT_WIDTH_1),
    .MODE_A(0), .MODE_B(0), .ASYNC_RESET(RESET_MODE == "ASYNC"),
    .CONTENTS(`PYHW_GOWIN_CONTENTS)
  ) ram (
    .clk_a(CLKA), .ce_a(CEA & BLKSELA == 0), .we_a(1'b1), .rst_a(RESETA), .addr_a(ADA),
    .in_a(DI),
    .out_a(out_a),
    .clk_b(CLKB), .ce_b(CEB & BLKSELB == 0), .we_b(1'b0), .rst_b(RESETB), .addr_b(ADB),
    .in_b(36'd0),
    .out_b(out_b)
  );
  assign DO = out_b;
endmodule

module SDPB #(
  parameter BIT_WIDTH_0 = 32, parameter BIT_WIDTH_1 = 32, parameter BLK_SEL_0 = 3'b000,
  parameter BLK_SEL_1 = 3'b000, parameter RESET_MODE = "SYNC",
  parameter READ_MODE = 1'b0,
  parameter [255:0] INIT_RAM_00 = 0, parameter [255:0] INIT_RAM_01 = 0,
  parameter [255:0] INIT_RAM_02 = 0, parameter [255:0] INIT_RAM_03 = 0,
  parameter [255:0] INIT_RAM_04 = 0, parameter [255:0] INIT_RAM_05 = 0,
  parameter [255:0] INIT_RAM_06 = 0, parameter [255:0] INIT_RAM_07 = 0,
  parameter [255:0] INIT_RAM_08 = 0, parameter [255:0] INIT_RAM_09 = 0,
  parameter [255:0] INIT_RAM_0A = 0, parameter [255:0] INIT_RAM_0B = 0,
  parameter [255:0] INIT_RAM_0C = 0, parameter [255:0] INIT_RAM_0D = 0,
  parameter [255:0] INIT_RAM_0E = 0, parameter [255:0] INIT_RAM_0F = 0,
  parameter [255:0] INIT_RAM_10 = 0, parameter [255:0] INIT_RAM_11 = 0,
  parameter [255:0] INIT_RAM_12 = 0, parameter [255:0] INIT_RAM_13 = 0,
  parameter [255:0] INIT_RAM_14 = 0, parameter [255:0] INIT_RAM_15 = 0,
  parameter [255:0] INIT_RAM_16 = 0, parameter [255:0] INIT_RAM_17 = 0,
  parameter [255:0] INIT_RAM_18 = 0, parameter [255:0] INIT_RAM_19 = 0,
  parameter [255:0] INIT_RAM_1A = 0, parameter [255:0] INIT_RAM_1B = 0,
  parameter [255:0] INIT_RAM_1C = 0, parameter [255:0] INIT_RAM_1D = 0,
  parameter [255:0] INIT_RAM_1E = 0, parameter [255:0] INIT_RAM_1F = 0,
  parameter [255:0] INIT_RAM_20 = 0, parameter [255:0] INIT_RAM_21 = 0,
  parameter [255:0] INIT_RAM_22 = 0, parameter [255:0] INIT_RAM_23 = 0,
  parameter [255:0] INIT_RAM_24 = 0, parameter [255:0] INIT_RAM_25 = 0,
  parameter [255:0] INIT_RAM_26 = 0, parameter [255:0] INIT_RAM_27 = 0,
  parameter [255:0] INIT_RAM_28 = 0, parameter [255:0] INIT_RAM_29 = 0,
  parameter [255:0] INIT_RAM_2A = 0, parameter [255:0] INIT_RAM_2B = 0,
  parameter [255:0] INIT_RAM_2C = 0, parameter [255:0] INIT_RAM_2D = 0,
  parameter [255:0] INIT_RAM_2E = 0, parameter [255:0] INIT_RAM_2F = 0,
  parameter [255:0] INIT_RAM_30 = 0, parameter [255:0] INIT_RAM_31 = 0,
  parameter [255:0] INIT_RAM_32 = 0, parameter [255:0] INIT_RAM_33 = 0,
  parameter [255:0] INIT_RAM_34 = 0, parameter [255:0] INIT_RAM_35 = 0,
  parameter [255:0] INIT_RAM_36 = 0, parameter [255:0] INIT_RAM_37 = 0,
  parameter [255:0] INIT_RAM_38 = 0, parameter [255:0] INIT_RAM_39 = 0,
  parameter [255:0] INIT_RAM_3A = 0, parameter [255:0] INIT_RAM_3B = 0,
  parameter [255:0] INIT_RAM_3C = 0, parameter [255:0] INIT_RAM_3D = 0,
  parameter [255:0] INIT_RAM_3E = 0, parameter [255:0] INIT_RAM_3F = 0
) (
  input CLKA, input CEA, input RESETA, input [2:0] BLKSELA, input [13:0] ADA,
  input [31:0] DI,
  input CLKB, input CEB, input OCE, input RESETB, input [2:0] BLKSELB, input [13:0] ADB,
  output [31:0] DO
);
  initial if (READ_MODE != 0 || BLK_SEL_0 != 0 || BLK_SEL_1 != 0) begin
    $display("%m: a SDPB in a way that has no model");
    $finish;
  end
  wire [35:0] out_a, out_b;
  pyhw_block_ram #(
    .WIDTH_A((BIT_WIDTH_0 >= 8 ? BIT_WIDTH_0 / 8 * 9 : BIT_WIDTH_0)),
    .WIDTH_B((BIT_WIDTH_1 >= 8 ? BIT_WIDTH_1 / 8 * 9 : BIT_WIDTH_1)),
    .MODE_A(0), .MODE_B(0), .ASYNC_RESET(RESET_MODE == "ASYNC"), .BYTE(8), .PAIR(16),
    .CONTENTS(`PYHW_GOWIN_CONTENTS)
  ) ram (
    .clk_a(CLKA), .ce_a(CEA & BLKSELA == 0), .we_a(1'b1), .rst_a(RESETA), .addr_a(ADA),
    .in_a(BIT_WIDTH_0 < 8 ? {4'd0, DI}
           : {1'b0, DI[31:24], 1'b0, DI[23:16], 1'b0, DI[15:8], 1'b0, DI[7:0]}),
    .out_a(out_a),
    .clk_b(CLKB), .ce_b(CEB & BLKSELB == 0), .we_b(1'b0), .rst_b(RESETB), .addr_b(ADB),
    .in_b(36'd0),
    .out_b(out_b)
  );
  assign DO = BIT_WIDTH_1 < 8 ? out_b[31:0] : {out_b[34:27], out_b[25:18], out_b[16:9], out_b[7:0]};
endmodule

// A bit of an adder. Yosys has a model of its own, on which Icarus 11 fails an assertion.
module ALU #(parameter ALU_MODE = 0) (
  output SUM, output COUT, input I0, input I1, input I3, input CIN
);
  localparam ADD = 0, SUB = 1, ADDSUB = 2, NE = 3, GE = 4, LE = 5, CUP = 6, CDN = 7, CUPCDN = 8;
  wire same = ALU_MODE == ADD ? I0 ^ I1
              : ALU_MODE == SUB || ALU_MODE == NE || ALU_MODE == GE || ALU_MODE == LE ? I0 ~^ I1
              : ALU_MODE == ADDSUB ? I0 ^ I1 ^ ~I3
              : ALU_MODE == CUP ? I0 : ALU_MODE == CDN ? ~I0
              : ALU_MODE == CUPCDN ? I0 ~^ I3 : (I0 & I1) ^ I3;
  wire carry = ALU_MODE == NE || ALU_MODE == CDN ? 1'b1 : ALU_MODE == CUP ? 1'b0
               : ALU_MODE == LE ? I1 : ALU_MODE <= CUPCDN ? I0 : I0 & I1;
  assign SUM = same ^ CIN;
  assign COUT = same ? CIN : carry;
endmodule
