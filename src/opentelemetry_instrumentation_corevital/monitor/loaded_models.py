"""LoadedModels by their names, and tokenizers of models: each is loaded once, and kept for as long as its monitor."""

import os
import threading
import weakref
from typing import Any

from .._internal.user_error import UserError
from ..loading.models import LoadedModel, load_model, load_tokenizer

_all: "weakref.WeakSet[LoadedModels]" = weakref.WeakSet()


class LoadedModels:
    """The models and tokenizers of one monitor; for many threads."""

    def __init__(self) -> None:
        self._loaded: dict[str, LoadedModel] = {}
        self._tokenizers: dict[str, Any] = {}
        self.unlock()
        _all.add(self)

    def unlock(self) -> None:
        """Take a new lock: a child of a fork does not go on with what its parent was loading."""
        self._loading = threading.Lock()

    def model(self, model: Any) -> tuple[Any, Any]:
        """Return a model and its tokenizer, given the model or its name.

        The tokenizer is None where none is known: of a model that was given, one that is on this machine under the
        name that the model has is looked for.

        Raises:
            ValueError: if there is no such model, or it cannot be loaded.
        """
        if not isinstance(model, str | os.PathLike):
            return model, self._tokenizer_of(model)
        name = os.fspath(model)
        with self._loading:
            if name not in self._loaded:
                try:
                    self._loaded[name] = load_model(name)
                except UserError as error:
                    raise ValueError(f"model: {str(error).removeprefix('--model ')}") from error
            loaded = self._loaded[name]
        return loaded.model, loaded.tokenizer

    def _tokenizer_of(self, model: Any) -> Any:
        name = getattr(model, "name_or_path", None) or getattr(getattr(model, "config", None), "_name_or_path", None)
        if not isinstance(name, str) or not name:
            return None
        with self._loading:
            if name not in self._tokenizers:
                try:
                    self._tokenizers[name] = load_tokenizer(name, local=True)
                except UserError:
                    self._tokenizers[name] = None
            return self._tokenizers[name]


def check_model(model: Any) -> None:
    """See to it that something is a model or may be a model's name.

    Raises:
        TypeError: if it is neither.
    """
    if not isinstance(model, str | os.PathLike) and not callable(getattr(model, "generate", None)):
        raise TypeError(f"model: give a model with a method generate(), or a model's name, not {type(model).__name__}")


def _unlock_all() -> None:
    for models in list(_all):
        models.unlock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_unlock_all)
