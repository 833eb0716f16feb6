"""What is measured by running a checkout: ports of elaborated presets, and what starting costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

PORTS = """
import importlib, json, sys
from pathlib import Path
from amaranth.hdl import Fragment
from amaranth.lib import data, wiring
prefix = "pyhw.hdl" if Path("pyhw/hdl").exists() else "hdl"
made = []
plain = wiring.Component.__init__
def init(self, *args, **kwargs):
    plain(self, *args, **kwargs)
    made.append(self)
wiring.Component.__init__ = init
def load(*names):
    for name in names:
        try:
            return importlib.import_module(f"{prefix}.{name}")
        except ModuleNotFoundError:
            pass
presets = load("presets", "config").PRESETS
top = load("top.accelerator", "accelerator").Accelerator
best = (0, "")
for config in presets.values():
    made.clear()
    Fragment.get(top(config), None)
    for one in made:
        for path, member, value in one.signature.flatten(one):
            shape = member.shape
            if isinstance(shape, type) and issubclass(shape, data.Struct):
                shape = data.Layout.cast(shape)
            if isinstance(shape, data.StructLayout):
                best = max(best, (shape.size, f"{type(one).__name__}.{'.'.join(map(str, path))}"))
print(json.dumps(best))
"""
STARTS = """
import json, subprocess, sys, time
from pathlib import Path
def best(*command):
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - started)
    return min(spent)
nothing = best("-c", "pass")
seen = subprocess.run([sys.executable, "-c", '''
import sys, pyhw
from pyhw.cli.main import main
main(["--help"])
print("torch loaded" if "torch" in sys.modules else "no torch")'''],
    check=True, text=True, capture_output=True).stdout
print(json.dumps([best("-c", "import pyhw"), best("-m", "pyhw", "--help"), nothing,
                  "torch loaded" in seen]))
"""


def measured(root: Path, script: str) -> list:
    """Run a script in a checkout and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, text=True, check=False, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        sys.exit(f"error: {root}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
