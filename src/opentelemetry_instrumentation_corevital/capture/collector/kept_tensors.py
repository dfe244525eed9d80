"""Whether tensors that are kept by reference are still what they were: by version, and by address.

A version counts what torch writes into a tensor's memory. It misses what `.data` and kernels of one's own write, and
tensors of inference mode have none. But two tensors at one address cannot both be what they were.
"""

from collections.abc import Sequence

from torch import Tensor


class Unchanged:
    """Notes tensors as they are kept, and keeps them alive: so nothing else gets their memory meanwhile."""

    def __init__(self) -> None:
        self._noted: list[tuple[Tensor, int | None, bool]] = []

    def __len__(self) -> int:
        """Return how many are noted."""
        return len(self._noted)

    def note(self, tensor: Tensor, version: int | None = None, *, shared: bool = False) -> None:
        """Note a tensor.

        Args:
            tensor: of any shape.
            version: that it had when it was made, if that is not its version now.
            shared: whether it may be noted again, as the keys are that several layers share.
        """
        if version is None and not tensor.is_inference():
            version = tensor._version
        self._noted.append((tensor, version, shared))

    def holds(self) -> bool:
        """Whether all of them are what they were."""
        found: dict[int, Tensor] = {}
        for tensor, version, shared in self._noted:
            if type(tensor) is not Tensor or (version is not None and tensor._version != version):
                return False  # what lies under a subclass is not known
            address = tensor.data_ptr()
            if address in found and not (shared and found[address] is tensor):
                return False
            found[address] = tensor
        return True

    def clear(self) -> None:
        """Forget them."""
        self._noted.clear()


def all_apart(addresses: Sequence[int]) -> bool:
    """Whether no two tensors live at one address."""
    return len(set(addresses)) == len(addresses)
