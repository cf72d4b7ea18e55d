"""Lets the tests of the convert stage import their samples by name, under every import mode of pytest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
