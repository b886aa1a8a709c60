"""How good the stories are: the likelihood of true ones, a judge of endings, statistics of texts, figures
with intervals, the report.

It must not know how a story was told: it is given texts, endings and a model that predicts.
"""
