"""The host's side of the accelerator's byte port (``docs/protocol.md``)."""

from .device import Device, Transport
from .frames import Decoder, Frame, encode
from .protocol import DeviceError, Identity, Protocol, Receive, Send, drive, drive_async

__all__ = [
    "Decoder",
    "Device",
    "DeviceError",
    "Frame",
    "Identity",
    "Protocol",
    "Receive",
    "Send",
    "Transport",
    "drive",
    "drive_async",
    "encode",
]
