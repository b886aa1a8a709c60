"""Telling stories: prompts, the loop over many stories, text as it comes, a model made ready for a CPU.

It must not know how a token is drawn from the likeliest ones (generate.py does that), nor where a topic came
from.
"""
