"""An ordinary script that knows nothing of CoreVital or OpenTelemetry.

The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
QUESTIONS = ("Name three primary colours.", "Write one sentence about the sea.")


def main() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    for question in QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        answer = model.generate(**inputs, max_new_tokens=24, do_sample=False)
        print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()
