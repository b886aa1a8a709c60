"""How PyTorch's threads wait for each other: to be imported before torch, which reads it when it is loaded.

They sleep. By default they keep their cores busy, and where somebody else needs one of these, all wait for
the thread that lost it (benchmarks/neighbours.py).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
