"""Telling stories: prompts, the engine that tells them on a CPU, PyTorch's loop over many stories, text as it
comes.

It must not know how PyTorch draws a token from the likeliest ones (generate.py does that), nor who asks.
"""
