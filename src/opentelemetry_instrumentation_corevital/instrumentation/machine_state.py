"""How a run is measured on this machine: for those who tell of it and have nothing to do with tensors."""

from typing import Any


def kernels_run_on(device: Any) -> bool:
    """Return whether the Triton kernels run on a device of torch, also after a run that has tried them."""
    from ..capture.backends.kernel_availability import kernels_for

    return kernels_for(device) is not None


def runs_compiled(model: Any) -> bool:
    """Return whether a model's modules run as compiled graphs, which show nothing of layers and attention."""
    from ..capture.collector.collector import is_compiled

    return is_compiled(model)
