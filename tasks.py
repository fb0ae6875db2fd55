"""The door for invoke, which loads this file as the module `tasks`: it steps aside for the package of that name."""

import sys
from pathlib import Path

_root = Path(__file__).resolve().parent
if sys.modules.get("tasks") is sys.modules.get(__name__):
    sys.modules.pop("tasks", None)
if str(_root) not in sys.path:
    sys.path.insert(0, str(_root))

from tasks.namespace import ns  # noqa: E402

__all__ = ["ns"]
