"""When two requests of a prompt set are the same: what is stored already need not be asked again."""

import json
from collections.abc import Sequence
from typing import Any

from ..assessment.fingerprint import hash_text
from ..config import Settings
from .graders import Grader
from .prompt_set import SetPrompt


def request_hashes(prompts: Sequence[SetPrompt], asked: dict[str, Any], settings: Settings) -> list[str]:
    """Return a hash for each prompt over all that makes what is stored of it: prompt, model, settings and experiment.

    A prompt is its text, the id that it was given, what is expected, and by which grader, since answers are graded as
    they come; prompts that are alike in all that are told apart by their order. An answer without content is none with
    it.
    The hash is made as that of the prompt is, with its key; where prompts are not hashed at all, a prompt is its id.

    Args:
        prompts: of the set.
        asked: model, revision, dtype, decoding, seed, chat and experiment, as JSON takes them.
        settings: those of the environment and of the options.
    """
    key = settings.hash_key if settings.prompt_hash == "hmac" else None
    seen: dict[str, int] = {}
    found = []
    for prompt in prompts:
        words = {"text": prompt.text, "messages": prompt.messages, "id": prompt.given_id, "expected": prompt.expected}
        if prompt.grader is not Grader.CONTAINS:  # without it, hashes are those of versions that had no other
            words["grader"] = prompt.grader
        told = {"id": prompt.id} if settings.prompt_hash == "off" else words
        text = json.dumps(told, sort_keys=True)
        alike = seen[text] = seen.get(text, -1) + 1
        how = {"stop_on": settings.stop_on, "content": settings.content_on_span}
        request = {**asked, **how, "prompt": told, "alike": alike}
        found.append(hash_text(json.dumps(request, sort_keys=True), key))
    return found
