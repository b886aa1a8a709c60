"""Raw text -> records: its odd format, a file that is read while it comes from the Hub, several
processes at work.

It must not know tokens or models: prepare_data.py makes a data set of what comes out here.
"""
