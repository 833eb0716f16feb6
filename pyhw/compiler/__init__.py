"""Compiler: integer graph and configuration in, program image out."""

from .compile import CompileError, compile_graph
from .program import Program

__all__ = ["CompileError", "Program", "compile_graph"]
