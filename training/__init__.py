"""What the loop in finetune.py rests on: micro-batches, the loss, the folder of a run, what a run shows of
itself, processes that train as one.

It must not know how a story is told (it is handed the function that does) nor how a model is measured.
"""
