"""The kernels against their definitions: compiled where there is a GPU, else interpreted.

Triton decides when it is imported, for the whole process: so these tests have one of their own, see the Makefile.
"""

import os

import torch

INTERPRETED = bool(os.environ.get("TRITON_INTERPRET"))

collect_ignore_glob = [] if INTERPRETED or torch.cuda.is_available() else ["test_*.py"]
