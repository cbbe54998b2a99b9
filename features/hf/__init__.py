"""Any audio encoder of Hugging Face transformers, without code of its own."""
