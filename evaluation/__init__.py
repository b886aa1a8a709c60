"""How good the stories are: the likelihood of true ones, which ones are told, judges and people who say how
these end, statistics of texts, figures with intervals, the report.

It must not tell stories: it is given their texts, and a model whose predictions it compares with true ones.
"""
