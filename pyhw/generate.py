"""Verilog of an accelerator."""

from amaranth.back import verilog

from hdl.accelerator import Accelerator
from hdl.config import Config

__all__ = ["generate_verilog"]


def generate_verilog(config: Config, name: str = "top") -> str:
    """Return the Verilog text of an accelerator.

    Parameters
    ----------
    config : Config
    name : str
        Name of the top module. Its ports are ``clk``, ``rst``, ``rx_payload[7:0]``,
        ``rx_valid``, ``rx_ready`` (commands in), ``tx_payload[7:0]``, ``tx_valid``,
        ``tx_ready`` (replies out), ``running`` and ``program_valid``.
    """
    top = Accelerator(config)
    ports = {
        "rx_payload": (top.rx.payload, None),
        "rx_valid": (top.rx.valid, None),
        "rx_ready": (top.rx.ready, None),
        "tx_payload": (top.tx.payload, None),
        "tx_valid": (top.tx.valid, None),
        "tx_ready": (top.tx.ready, None),
        "running": (top.o_running, None),
        "program_valid": (top.o_program, None),
    }
    return verilog.convert(top, name=name, ports=ports, strip_internal_attrs=True)
