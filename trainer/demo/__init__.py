"""The recipe that makes the demo's embedded inputs: data set, tokenizer and a base model, really pre-trained."""
