"""Retrieval and generation: tell CoreVital what was retrieved, and find the run by it.

The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import re
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "40"))
DOCUMENTS = {
    "kb-1": "The workshop repairs bicycles from Monday to Friday, nine to five.",
    "kb-2": "A new tyre costs 25 euros, with fitting 40 euros.",
    "kb-3": "Bicycles that nobody collects within three months are given away.",
}
QUESTION = "What does a new tyre cost with fitting?"


def retrieve(question: str, count: int = 2) -> list[str]:
    """Return the ids of the documents that share the most words with a question."""
    wanted = set(re.findall(r"\w+", question.lower()))
    return sorted(DOCUMENTS, key=lambda each: -len(wanted & set(re.findall(r"\w+", DOCUMENTS[each].lower()))))[:count]


def main() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    found = retrieve(QUESTION)
    context = "\n".join(DOCUMENTS[each] for each in found)
    retrieved = corevital.RAGContext(
        context_token_count=len(tokenizer(context)["input_ids"]),
        retrieved_doc_ids=found,  # content: they leave the process only where that is switched on
    )
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": f"Answer from this text alone:\n{context}\n\n{QUESTION}"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with corevital.recording() as recording, corevital.rag_context(retrieved):
        output = model.generate(**inputs, max_new_tokens=LIMIT, do_sample=False)
    print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    with corevital.open_store(recording.path) as store:
        attributes = store.run("last").attributes
    for name in ("corevital.rag.document_count", "corevital.rag.context_token_count", "corevital.narrative"):
        print(f"{name}: {attributes[name]}")


if __name__ == "__main__":
    main()
