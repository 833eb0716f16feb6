"""A board of one's own, for ``--board-file`` (``docs/extend.md``): its FPGA, pins and loader."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticePlatform
from amaranth_boards.resources import LEDResources, UARTResource

from pyhw.boards import Board, Loader

IO = Attrs(IO_TYPE="LVCMOS33")


class MyBoardPlatform(LatticePlatform):
    """The FPGA and its pins, as Amaranth describes boards."""

    device, package, speed, default_clk = "LFE5U-25F", "BG256", "6", "clk25"
    resources = [
        Resource("clk25", 0, Pins("P6", dir="i"), Clock(25e6), IO),
        *LEDResources(pins="A11 B11", attrs=IO),
        UARTResource(0, rx="A9", tx="B9", attrs=IO),
    ]
    connectors = []


BOARD = Board(
    name="my-board", title="A board of my own, LFE5U-25F", device_name="ecp5-25f",
    platform=MyBoardPlatform, clock_mhz=50,
    # Running, program valid, error of the line: resource, number, name of a part or None.
    lights=(("led", 0, None), ("led", 1, None), None),
    loader=Loader(arguments=("-c", "digilent"), usb=(0x1234, 0x5678)))
