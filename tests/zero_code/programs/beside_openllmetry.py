"""A text-generation pipeline, whose call OpenLLMetry's instrumentation of transformers gives a span."""

import sys

from transformers import AutoTokenizer, pipeline

from tests.support.tiny_models import tiny_model

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
generate = pipeline("text-generation", model=tiny_model(vocab_size=len(tokenizer)), tokenizer=tokenizer)
generate("Name three primary colours.", max_new_tokens=4, do_sample=False)
