"""The host's side of the accelerator's byte port (``docs/protocol.md``)."""

from .connect import BAUD, config_of, connect
from .device import Device, Traffic, Transport
from .frames import Decoder, Frame, encode
from .inference import Inference, check_images
from .link import DeviceError, Receive, Request, Send, drive, drive_async
from .ports import find_port
from .protocol import Identity, Protocol
from .serial_port import PortError, SerialPort

__all__ = [
    "BAUD",
    "Decoder",
    "Device",
    "DeviceError",
    "Frame",
    "Identity",
    "Inference",
    "PortError",
    "Protocol",
    "Receive",
    "Request",
    "Send",
    "SerialPort",
    "Traffic",
    "Transport",
    "check_images",
    "config_of",
    "connect",
    "drive",
    "drive_async",
    "encode",
    "find_port",
]
