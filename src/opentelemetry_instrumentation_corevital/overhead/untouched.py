"""Whether transformers and a model are as they were before CoreVital was there."""

from typing import Any

from .overhead_error import OverheadError


class Untouched:
    """The library and the model as they were when this was made."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.state = self._state()

    def check(self) -> None:
        """Raise if anything that an arm may have changed is not as it was.

        Raises:
            OverheadError: then `plain` would not be plain.
        """
        if self._state() != self.state:
            raise OverheadError("something was left in transformers or in the model: `plain` is not plain")

    def _state(self) -> tuple[Any, ...]:
        from transformers.generation.utils import GenerationMixin
        from transformers.modeling_utils import AttentionInterface

        methods = {name: id(value) for name, value in vars(GenerationMixin).items()}
        attention = {name: id(value) for name, value in AttentionInterface._global_mapping.items()}
        hooks = sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))
            for module in self.model.modules()
        )
        return methods, attention, hooks, self.model.config._attn_implementation
