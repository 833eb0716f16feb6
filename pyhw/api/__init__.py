"""The functions of `import pyhw`, in the order of the path: see docs/api.md.

`models` is what comes before hardware, `hardware` what makes it, `runs` what uses it, `files` what
reads and writes all of it. `pyhw/__init__.py` imports a module when one of its functions is first
asked for.
"""
