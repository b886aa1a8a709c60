"""A fine-tuned model as other programs take it.

It must not know training or data: export.py gives it a checkpoint.
"""
