"""Read IDX files, the format MNIST comes in: a short header, then unsigned bytes."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from pyhw.errors import UserError

LARGEST = 1 << 28
"""Most bytes of content a file may announce; MNIST's largest has 47 million."""


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read one IDX file of unsigned bytes, gzip-compressed or not.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    ndim : int
        Dimensions it must have: 3 for images, 1 for labels.

    Returns
    -------
    numpy.ndarray, uint8
        As many dimensions as `ndim`.

    Raises
    ------
    UserError
        If the file is missing, unreadable, truncated, too long, or not such a file.

    Source
    ------
    LeCun, Cortes, Burges, "The MNIST database", section on file formats.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                header = file.read(4 + 4 * ndim)
                if header[:4] != bytes((0, 0, 8, ndim)):
                    raise UserError(
                        f"{path} is not an IDX file of unsigned bytes with {ndim} dimension(s): "
                        "download it again from an MNIST mirror"
                    )
                if len(header) < 4 + 4 * ndim:
                    raise UserError(f"{path} is truncated: download it again")
                shape = struct.unpack(f">{ndim}I", header[4:])
                size = 1
                for length in shape:
                    size *= length
                if size > LARGEST:
                    raise UserError(
                        f"{path} announces {size} bytes of content, more than the {LARGEST} "
                        "pyhw reads: its header is damaged, download it again"
                    )
                content = file.read(size + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): download it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content)}"
        raise UserError(
            f"{path} is truncated or damaged: its header announces {size} bytes, "
            f"it holds {found}; download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
