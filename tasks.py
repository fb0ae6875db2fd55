"""For invoke, which loads this file as the module `tasks`: it steps aside for the package of that name.

invoke turns Python's bytecode files off (`--write-pyc`). Without them each call compiles all that it imports, which
took a third of a second; they are kept as Python itself would, unless its own variable says not to. Python looks for
rings of objects to free again and again while modules are read, which are there to stay: left out until the settings
are read (`tasks.run.task.run_task`). So is its last look at the end, for memory that the system takes back anyway.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

gc.disable()
atexit.register(gc.freeze)
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))

_root = Path(__file__).resolve().parent
if sys.modules.get("tasks") is sys.modules.get(__name__):
    sys.modules.pop("tasks", None)
if str(_root) not in sys.path:
    sys.path.insert(0, str(_root))

from tasks.collection import collection, end_with_the_reader  # noqa: E402

end_with_the_reader(sys.argv[1:])
ns = collection(sys.argv[1:])

__all__ = ["ns"]
