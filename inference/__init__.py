"""Telling stories: prompts, the loop over many stories, text as it comes, a model made ready for a CPU.

It must not know how the next token is chosen (generate.py says that) nor where a topic came from.
"""
