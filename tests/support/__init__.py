"""What tests share: models, references, boards and buses that are stand-ins."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder of the project."""
DOCS = ROOT / "docs"
