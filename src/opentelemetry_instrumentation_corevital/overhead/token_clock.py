"""When each token of a call was chosen, and when the device was done."""

import math
import time
from typing import Any


class TokenClock:
    """A stopping criterion that marks every token, and waits for the device at the first and the last only.

    It is the same in every arm, and stops nothing.

    Args:
        tokens: how many will be generated.
        batch: of the call.
        device: the model's, a `torch.device`.
    """

    def __init__(self, tokens: int, batch: int, device: Any) -> None:
        import torch

        self.tokens = tokens
        self.device = device
        self.never = torch.zeros(batch, dtype=torch.bool, device=device)
        # Made before the call, so that marking a token is one call to the driver.
        events = tokens if device.type == "cuda" else 0
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(events)]
        self.times: list[float] = []
        self.seen = 0
        self.first = self.last = math.nan

    def __call__(self, _input_ids: Any, _scores: Any, **_kwargs: Any) -> Any:
        """Mark a token; stop nothing."""
        if self.events:
            self.events[self.seen].record()
        else:
            self.times.append(time.perf_counter())
        self.seen += 1
        if self.seen == 1:
            self.first = now(self.device)
        if self.seen == self.tokens:
            self.last = now(self.device)
        return self.never

    def steps(self) -> list[float]:
        """Return the seconds from each token to the next; the device has to be done."""
        if self.events:
            pairs = zip(self.events, self.events[1:], strict=False)
            return [before.elapsed_time(after) / 1e3 for before, after in pairs]
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def now(device: Any) -> float:
    """Return the time, in seconds, at which the device has nothing left to do."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
