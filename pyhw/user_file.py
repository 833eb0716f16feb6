"""Python files of a user's own: they run as any program does; their faults are told in a line."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .errors import UserError

__all__ = ["run_file", "said"]


def run_file(name: str, path: Path, package: Path | None = None) -> ModuleType:
    """Run a Python file as a module of a name and return it; nothing is written beside it.

    Parameters
    ----------
    name : str
    path : Path
    package : Path, optional
        Folder of the package whose ``__init__.py`` it is; its modules are found while it runs and
        later.

    Raises
    ------
    UserError
        If it is no Python file, or raises: one line with the place and the reason.
    """
    if not path.is_file():
        raise UserError("it is no file" if path.exists() else "it does not exist")
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=None if package is None else [str(package)])
    if spec is None or spec.loader is None:
        raise UserError("its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    if package is not None:
        sys.modules[name] = module
    before = sys.dont_write_bytecode
    try:
        sys.dont_write_bytecode = True
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(said(error, package or path)) from None
    finally:
        sys.dont_write_bytecode = before
    return module


def said(error: BaseException, path: Path | None = None) -> str:
    """Return an exception in one line, with the line of the user's file that it comes from.

    `path` is that file, or the folder that holds it, whose name then stands before the line.
    """
    line, file, trace = getattr(error, "lineno", None), None, error.__traceback__
    if line is not None:  # of what is no Python
        file, trace = getattr(error, "filename", None), None
    own = None if path is None else path.absolute()
    while own is not None and trace is not None:
        running = Path(trace.tb_frame.f_code.co_filename).absolute()
        if running == own or own in running.parents:
            line, file = trace.tb_lineno, str(running)
        trace = trace.tb_next
    where = f"line {line}: " if line is not None else ""
    if where and file is not None and own is not None and own in Path(file).parents:
        where = f"{Path(file).relative_to(own)}, {where}"
    text = str(getattr(error, "msg", None) or error)
    return f"{where}{type(error).__name__}: {' '.join(text.split())}"
