"""An ordinary script that knows nothing of CoreVital or OpenTelemetry."""

import os

from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
QUESTIONS = ("Name three primary colours.", "Write one sentence about the sea.")


def main() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    for question in QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        answer = model.generate(**inputs, max_new_tokens=40, do_sample=False)
        print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()
