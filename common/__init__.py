"""What all of the project rests on: settings and the command line, errors, files that appear whole, the
device, endings, files of stories, int8 layers, where checkpoints are and what is in them, the Hugging Face
Hub.

It must not know code of the data set, of the model or of a script: it imports nothing of this project but
itself.
"""
